using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.HisiAcc;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.HisiAcc;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.HisiAcc;

/// <summary>The driver as its device's holder sees it. Akka's clock is the test's.</summary>
public sealed class HisiAccDriverTests() : TestKit(
    """
    akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off
           scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit" }
    """)
{
    private const int Bar = HisiAccBar.Number;
    private const int Half = HisiAccBar.Control;

    private TestScheduler Scheduler => (TestScheduler)Sys.Scheduler;

    private Task<VfLab> OpenAsync(string model = EmulatedModels.HisiSec, Action<HisiAccPhysicalFunction>? before = null) =>
        VfLab.OpenAsync(Sys, TestActor, model, HisiAccDriver.Registrations, physical => before?.Invoke((HisiAccPhysicalFunction)physical));

    [Fact]
    public void Its_three_kinds_of_VF_are_matched_by_id()
    {
        var catalog = new DriverCatalog(HisiAccDriver.Registrations);
        Assert.Equal(
            ["hisi-sec", "hisi-hpre", "hisi-zip", null],
            new ushort[] { 0xa256, 0xa259, 0xa251, 0xa255 }.Select(device => catalog.For(new PciIds(0x19e5, device))?.Model));
    }

    // ---- The upper half of BAR 2 (VD-HIS-2) ------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_users_half_of_the_bar_is_all_that_there_seems_to_be_VD_HIS_2()
    {
        using var lab = await OpenAsync();
        Assert.Equal((ulong)Half, (await lab.AskAsync<RegionInfoRead>(new GetRegionInfo(lab.Session, Bar))).Info.Size);
        Assert.Equal(4, (await lab.Client.ReadAsync(Bar, Half - 4, 8)).Value.Length);
        Assert.Equal(4, (await lab.AskAsync<RegionWritten>(new WriteRegion(lab.Session, Bar, Half - 4, new byte[8]))).Length);
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReadAsync(Bar, Half, 4)).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.WriteAsync(Bar, Half, new byte[4])).Error.Errno);
        Assert.Equal(Errno.EINVAL, await lab.RefusedAsync(new SetIoEventFd(lab.Session, new IoEvent(Bar, Half, 4, 1), null)));
        Assert.Equal(Errno.EINVAL, await lab.RefusedAsync(new GetDmaBuf(lab.Session, Bar, [new DmaBufRange(Half - 4096, 8192)])));
    }

    [Fact]
    public async Task A_mapping_ends_with_the_users_half_VD_HIS_2()
    {
        using var lab = await OpenAsync();
        var mapping = (await lab.AskAsync<RegionMapped>(new MapRegion(lab.Session, Bar))).Mapping;
        Assert.Equal((ulong)Half, mapping.Length);
        Assert.True(mapping.Read(Half - 4, new byte[4]).IsOk);
        Assert.Equal(Errno.EFAULT, mapping.Read(Half, new byte[4]).Error.Errno);
    }

    [Fact]
    public async Task With_control_at_the_PF_the_whole_bar_is_the_users_and_it_migrates_VD_HIS_2()
    {
        using var lab = await OpenAsync(EmulatedModels.HisiSecByPf);
        Assert.Equal((ulong)HisiAccBar.Bytes, (await lab.AskAsync<RegionInfoRead>(new GetRegionInfo(lab.Session, Bar))).Info.Size);
        Assert.True((await lab.Client.ReadAsync(Bar, Half, 4)).IsOk);
        Assert.Equal(HisiAccStreamFormat.MatchBytes, Chunks.Read(await lab.EnterAsync(PreCopy)).Length);
    }

    [Fact]
    public async Task Without_the_PFs_driver_it_is_the_core_alone_VD_HIS_2_VD_0()
    {
        using var lab = await OpenAsync(before: static physical => physical.DetachDriver());
        Assert.Equal((ulong)HisiAccBar.Bytes, (await lab.AskAsync<RegionInfoRead>(new GetRegionInfo(lab.Session, Bar))).Info.Size);
        Assert.Equal(Errno.ENOTTY, (await lab.Client.GetMigrationFlagsAsync()).Error.Errno);
    }

    // ---- Migration -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_VF_moves_and_no_DMA_log_comes_with_it_VD_HIS_1_VD_HIS_5()
    {
        using var source = await OpenAsync(before: static physical => physical.WriteBackTime = TimeSpan.Zero);
        using var target = await OpenAsync();
        await SetUpAsync(source);
        var to = await target.EnterAsync(Resuming);
        var from = await source.EnterAsync(PreCopy);
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        await source.EnterAsync(StopCopy);
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        await target.EnterAsync(Running);
        Assert.Equal(7, (await target.Client.ReadAsync(Bar, HisiAccRegister.PageSize, 4)).Value.Span[0]);
        Assert.Equal(Errno.ENOTTY, await source.RefusedAsync(new StopDmaLogging(source.Session)));
    }

    [Fact]
    public async Task A_stop_that_takes_time_is_waited_for_and_holds_up_what_comes_after_it_MG_36()
    {
        using var lab = await OpenAsync();
        await SetUpAsync(lab);
        var stopped = lab.Client.SetMigrationStateAsync(Stop);
        var state = lab.Client.GetMigrationStateAsync();
        Assert.True((await lab.UntilAsync(stopped, Scheduler, TimeSpan.FromMicroseconds(20))).IsOk);
        Assert.Equal(Stop, (await state).Value);
    }

    [Fact]
    public async Task A_driver_that_failed_finds_a_VF_that_stands_lost_until_a_reset_MG_31()
    {
        using var lab = await OpenAsync(before: static physical => physical.WriteBackTime = TimeSpan.Zero);
        await SetUpAsync(lab);
        await lab.EnterAsync(Stop);
        lab.FailDriver();
        Assert.Equal(Error, await lab.StateAsync());
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(Running, await lab.StateAsync());
    }

    // ---- Resets (VD-HIS-4) -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_reset_waits_for_the_PFs_and_gives_the_bit_back_VD_HIS_4()
    {
        using var lab = await OpenAsync();
        var physical = (HisiAccPhysicalFunction)lab.Physical;
        physical.IsResetting = true;
        await SetUpAsync(lab);
        var reset = lab.Client.ResetAsync();
        for (var waited = 0; waited < 50; waited++)
        {
            await lab.TurnAsync();
            Scheduler.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.Equal((7u, false), (PageSize(lab), reset.IsCompleted));
        physical.IsResetting = false;
        Assert.True((await lab.UntilAsync(reset, Scheduler, TimeSpan.FromMilliseconds(1))).IsOk);
        Assert.Equal((0u, false), (PageSize(lab), physical.IsResetting));
    }

    [Fact]
    public async Task A_reset_that_fails_gives_the_bit_back_too_VD_HIS_4()
    {
        using var lab = await OpenAsync();
        ((EmulatedFunction)lab.Function).SetResetFault(new ResetFault.Fails());
        Assert.False((await lab.Client.ResetAsync()).IsOk);
        Assert.False(((HisiAccPhysicalFunction)lab.Physical).IsResetting);
    }

    private static uint PageSize(VfLab lab)
    {
        var value = new byte[4];
        Assert.True(lab.Function.ReadRegion(Bar, HisiAccRegister.PageSize, value).IsOk);
        return BitConverter.ToUInt32(value);
    }

    /// <summary>A guest's driver that gives no task.</summary>
    private static async Task SetUpAsync(VfLab lab)
    {
        Assert.True((await lab.Client.WriteAsync(Bar, HisiAccRegister.PageSize, new byte[] { 7, 0, 0, 0 })).IsOk);
        foreach (var command in new[]
        {
            HisiAccMailboxCommand.EventQueue, HisiAccMailboxCommand.AsyncEventQueue,
            HisiAccMailboxCommand.SubmissionTable, HisiAccMailboxCommand.CompletionTable,
        })
        {
            var address = VfBench.Iova + ((ulong)command << 8);
            byte[] words = [.. BitConverter.GetBytes((uint)command | HisiAccMailbox.Busy), .. BitConverter.GetBytes(address), 0, 0, 0, 0];
            Assert.True((await lab.Client.WriteAsync(Bar, HisiAccRegister.Mailbox, words)).IsOk);
        }

        Assert.True((await lab.Client.WriteAsync(Bar, HisiAccRegister.VfState, new byte[4])).IsOk);
    }
}
