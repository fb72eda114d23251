using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The page tracker and its queue pair.</summary>
public sealed class Mlx5DmaLogTests
{
    private const ulong Page = 4096;

    private static long[] DirtyPages(Mlx5Machine machine, ulong length = 1 << 20)
    {
        var words = new ulong[length / Page / 64];
        var reported = machine.Log.Report(DmaWindow.Iova, length, Page, words);
        Assert.True(reported.IsOk, reported.Error.ToString());
        return [.. Enumerable.Range(0, words.Length * 64).Where(page => ((words[page / 64] >> (page % 64)) & 1) != 0).Select(page => (long)page)];
    }

    private static Mlx5Machine Logging()
    {
        var machine = new Mlx5Machine();
        machine.Program(entries: 1 << 16);
        Assert.Equal(Page, machine.Log.Start(Page, [new LoggingRange(DmaWindow.Iova, 1 << 20)]).Value);
        return machine;
    }

    [Fact]
    public void Pages_that_DMA_wrote_are_reported_once_MG_41()
    {
        using var machine = Logging();
        machine.Post(300);
        Assert.Equal([0, 1], DirtyPages(machine));
        Assert.Empty(DirtyPages(machine));
        machine.Post(1);
        Assert.Equal([1], DirtyPages(machine));
    }

    [Fact]
    public void More_pages_than_a_poll_tells_of_are_all_reported()
    {
        using var machine = new Mlx5Machine();
        machine.Program(entries: 1 << 16);
        Assert.True(machine.Log.Start(Page, [new LoggingRange(0, 1 << 30)]).IsOk);
        for (var page = 0; page < Mlx5TrackerReport.MaxEntries; page++)
        {
            machine.Program(DmaWindow.Iova + ((ulong)page * Page) - ((ulong)page * Mlx5Completion.Bytes), entries: 1 << 16);
            machine.Post(1);
        }

        Assert.Equal(Enumerable.Range(0, 256).Select(page => (long)page), DirtyPages(machine));
        for (var page = 0; page < 200; page++)
        {
            machine.Program(DmaWindow.Iova + ((ulong)page * Page) - ((256ul + (ulong)page) * Mlx5Completion.Bytes), entries: 1 << 16);
            machine.Post(1);
        }

        machine.TakeOpcodes();
        Assert.Equal(200, DirtyPages(machine).Length);
        Assert.Equal([Mlx5Opcode.ReportTracker, Mlx5Opcode.PollQp], machine.TakeOpcodes());
    }

    [Fact]
    public void It_outlives_a_stop_and_a_reset_MG_42_MG_34()
    {
        using var machine = Logging();
        machine.Post(1);
        machine.Enter(Stop);
        Assert.Equal([0], DirtyPages(machine));
        machine.Enter(Running);
        machine.Post(1);
        machine.Reset();
        Assert.Equal([0], DirtyPages(machine));
    }

    [Fact]
    public void More_ranges_than_the_device_has_are_merged_and_its_page_sizes_are_4_KiB_to_2_MiB_MG_40_MG_43()
    {
        using var machine = new Mlx5Machine();
        var ranges = Enumerable.Range(0, 20).Select(range => new LoggingRange((ulong)range << 24, 1 << 22)).ToArray();
        Assert.Equal(2ul << 20, machine.Log.Start(4 << 20, ranges).Value);
        Assert.Equal(8, machine.Log.Watched.Count);
        Assert.True(machine.Log.Stop().IsOk);
    }

    [Fact]
    public void Stopped_it_leaves_neither_object_nor_queue_and_starts_again_MG_42()
    {
        using var machine = Logging();
        machine.TakeOpcodes();
        Assert.True(machine.Log.Stop().IsOk);
        Assert.Equal([Mlx5Opcode.DestroyTracker, Mlx5Opcode.DestroyQp], machine.TakeOpcodes());
        machine.Post(1);
        Assert.True(machine.Log.Start(Page, [new LoggingRange(DmaWindow.Iova, 1 << 20)]).IsOk);
        Assert.Empty(DirtyPages(machine));
    }

    [Fact]
    public void A_queue_that_fails_is_EIO_until_the_log_is_started_anew_VD_MLX_5_MG_41()
    {
        using var machine = Logging();
        machine.Post(1);
        machine.Function.FailTrackerQueue();
        for (var again = 0; again < 3; again++)
            Assert.Equal((Errno.EIO, DirtyLogState.Broken), (machine.Log.Report().Error.Errno, machine.Log.State));
        Assert.True(machine.Log.Stop().IsOk);
        Assert.True(machine.Log.Start(Page, [new LoggingRange(DmaWindow.Iova, 1 << 20)]).IsOk);
        machine.Post(1);
        Assert.Equal([0], DirtyPages(machine));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_PF_whose_driver_or_firmware_goes_takes_the_tracker_with_it_VD_MLX_5(bool firmware)
    {
        using var machine = Logging();
        if (firmware)
            machine.Card.RestartFirmware();
        else
            machine.Card.DetachDriver();
        Assert.Equal(Errno.EIO, machine.Log.Report().Error.Errno);
        Assert.True(machine.Log.Stop().IsOk);
        Assert.Equal(firmware ? Errno.None : Errno.ENOTCONN, machine.Log.Start(Page, [new LoggingRange(0, Page)]).Error.Errno);
        machine.Card.AttachDriver();
        machine.Log.Stop();
        Assert.True(machine.Log.Start(Page, [new LoggingRange(DmaWindow.Iova, 1 << 20)]).IsOk);
        machine.Program();
        machine.Post(1);
        Assert.Equal([0], DirtyPages(machine));
    }

    [Fact]
    public void A_report_whose_poll_fails_has_lost_what_it_was_told_MG_41()
    {
        using var machine = Logging();
        machine.Post(1);
        var commands = 0;
        machine.Channel.Before = () => commands++ == 1 ? VfioResult.Fail(Errno.EIO, "It failed.") : VfioResult.Ok;
        Assert.Equal((Errno.EIO, Errno.EIO), (machine.Log.Report().Error.Errno, machine.Log.Report().Error.Errno));
    }

    [Fact]
    public void A_start_that_fails_leaves_no_queue_behind()
    {
        using var machine = new Mlx5Machine();
        var commands = 0;
        machine.Channel.Before = () => commands++ == 1 ? VfioResult.Fail(Errno.EIO, "It failed.") : VfioResult.Ok;
        Assert.Equal(Errno.EIO, machine.Log.Start(Page, [new LoggingRange(0, Page)]).Error.Errno);
        Assert.Equal([Mlx5Opcode.CreateQp, Mlx5Opcode.CreateTracker, Mlx5Opcode.DestroyQp], machine.TakeOpcodes());
        Assert.Equal(DirtyLogState.Off, machine.Log.State);
    }
}
