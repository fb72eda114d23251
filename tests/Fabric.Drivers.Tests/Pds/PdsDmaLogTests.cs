using CsCheck;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Pds;

/// <summary>The DMA log by sequence and acknowledgement (VD-PDS-4). CsCheck prints the seed of a failure.</summary>
public sealed class PdsDmaLogTests
{
    private const ulong Page = 4096;
    private const int Pages = VfBench.MemoryBytes / (int)Page;

    private static readonly LoggingRange All = new(VfBench.Iova, VfBench.MemoryBytes);

    /// <summary>What is reported is what was written since the last report: no page less, none more, none twice.</summary>
    [Fact]
    public void Each_report_is_what_was_written_since_the_one_before_it_VD_PDS_4_MG_41() =>
        Gen.Select(Gen.Int[0, Pages - 1], Gen.UInt[0, 3]).Array[0, 5].Array[1, 6].Sample(rounds =>
        {
            using var rig = new PdsRig();
            Assert.True(rig.Log.Start(Page, [All]).IsOk);
            foreach (var round in rounds)
            {
                var written = new SortedSet<int>();
                foreach (var (page, count) in round)
                {
                    rig.GiveAt((ulong)page * Page, count);
                    if (count > 0)
                        written.Add(page);
                }

                Assert.Equal(written, Report(rig, All));
            }
        }, iter: 200);

    /// <summary>Every range apart, however few regions the device has: what lies in a range is exact, what lies between is not asked for.</summary>
    [Fact]
    public void Ranges_are_merged_to_what_the_device_can_watch_and_no_page_is_lost_VD_PDS_4_MG_43() =>
        Gen.Select(Gen.Int[1, 4], Gen.Int[0, Pages / 2 - 1].HashSet[1, 8], Gen.Int[0, Pages - 1].Array[0, 10]).Sample((regions, ranges, writes) =>
        {
            using var rig = new PdsRig((byte)regions);
            var asked = ranges.Select(static at => new LoggingRange(VfBench.Iova + ((ulong)at * 2 * Page), Page)).ToArray();
            Assert.True(rig.Log.Start(Page, asked).IsOk);
            Assert.InRange(rig.Log.Watched.Count, 1, regions);
            foreach (var page in writes)
                rig.GiveAt((ulong)page * Page, 1);
            foreach (var range in asked)
                Assert.Equal(
                    writes.Where(page => range.Iova == VfBench.Iova + ((ulong)page * Page)).Distinct(),
                    Report(rig, range).Select(page => page + (int)((range.Iova - VfBench.Iova) / Page)));
        }, iter: 200);

    /// <summary>The device gives each more of the bitmap than was asked for, so that the second begins later than one might think.</summary>
    [Fact]
    public void Regions_far_apart_have_each_their_part_of_the_bitmap_VD_PDS_4()
    {
        using var rig = new PdsRig();
        const ulong distance = 1UL << 40;
        Assert.True(rig.Bench.Core.MapDma(VfBench.Iova + distance, new HolderMemory(VfBench.MemoryBytes)).IsOk);
        var above = All with { Iova = VfBench.Iova + distance };
        Assert.True(rig.Log.Start(Page, [above, All]).IsOk);
        rig.GiveAt(3 * Page, 1);
        rig.GiveAt(distance + (5 * Page), 1);
        Assert.Equal([5], Report(rig, above));
        Assert.Equal([3], Report(rig, All));
    }

    [Fact]
    public void A_report_of_a_part_leaves_the_rest_of_its_word_for_the_next_VD_PDS_4_MG_41()
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
        foreach (var page in new[] { 2, 3, 4 })
            rig.GiveAt((ulong)page * Page, 1);
        Assert.Equal([0], Report(rig, new(VfBench.Iova + (3 * Page), Page)));
        Assert.Equal([2, 4], Report(rig, All));
    }

    [Fact]
    public void What_is_written_between_reading_and_acknowledging_is_in_the_next_report_VD_PDS_4()
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
        rig.GiveAt(Page, 1);
        rig.Bench.Channel.OnCommand = () =>
        {
            if (rig.Bench.Channel.Commands[^1][0] == (byte)PdsOpcode.DirtyWriteAcknowledgement)
                rig.GiveAt(5 * Page, 1);
            return VfioResult.Ok;
        };
        Assert.Equal([1], Report(rig, All));
        rig.Bench.Channel.OnCommand = static () => VfioResult.Ok;
        Assert.Equal([5], Report(rig, All));
    }

    [Fact]
    public void A_log_longer_than_a_command_carries_is_read_in_parts_VD_PDS_4()
    {
        using var rig = new PdsRig();
        var tebibyte = new LoggingRange(0, 1UL << 40);
        Assert.True(rig.Log.Start(1 << 21, [tebibyte]).IsOk);
        rig.GiveAt(0, 1);
        rig.Bench.Channel.Commands.Clear();
        var bitmap = new ulong[(1 << 19) / 64];
        Assert.True(rig.Log.Report(0, 1UL << 40, 1 << 21, bitmap).IsOk);
        Assert.Equal((1UL, 1), (bitmap[0], bitmap.Count(static word => word != 0)));
        // 512 Ki pages are 64 KiB of bitmap, read and acknowledged; by 4 KiB pages it would be 32 MiB.
        Assert.Equal(2, rig.Bench.Channel.Commands.Count);
        Assert.True(rig.Log.Stop().IsOk);
        Assert.True(rig.Log.Start(Page, [new(0, 1UL << 32)]).IsOk);
        rig.GiveAt(0, 1);
        rig.Bench.Channel.Commands.Clear();
        Assert.True(rig.Log.Report(0, 1UL << 32, Page, new ulong[1 << 14]).IsOk);
        Assert.Equal(4, rig.Bench.Channel.Commands.Count);
    }

    [Fact]
    public void It_lasts_while_the_VF_stops_and_ends_with_the_stream_MG_42()
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
        rig.GiveAt(6 * Page, 1);
        rig.Enter(StopCopy);
        Assert.Equal([6], Report(rig, All));
        rig.Enter(Stop);
        Assert.Equal((DirtyLogState.Off, false), (rig.Log.State, rig.Function.IsLogging));
        Assert.Equal(Errno.EINVAL, rig.Log.Report(All.Iova, All.Length, Page, new ulong[1]).Error.Errno);
        Assert.True(rig.Log.Stop().IsOk);
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
    }

    [Fact]
    public void A_reset_leaves_it_alone_MG_34()
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
        rig.GiveAt(Page, 1);
        rig.Reset();
        Assert.Equal([1], Report(rig, All));
    }

    [Theory]
    [InlineData(PdsStatus.Exists, Errno.EEXIST)]
    [InlineData(PdsStatus.NotSupported, Errno.EOPNOTSUPP)]
    [InlineData(PdsStatus.NoSpace, Errno.E2BIG)]
    [InlineData(PdsStatus.Io, Errno.EIO)]
    public void What_firmware_says_to_a_start_is_told_and_the_host_is_NONE_MG_40(PdsStatus status, Errno errno)
    {
        using var rig = new PdsRig();
        rig.Physical.Fail(PdsOpcode.DirtyEnable, status);
        Assert.Equal(errno, rig.Log.Start(Page, [All]).Error.Errno);
        Assert.Equal((DirtyLogState.Off, PdsHostStatus.None), (rig.Log.State, rig.Function.HostStatus));
    }

    [Theory]
    [InlineData(PdsOpcode.DirtyReadSequence)]
    [InlineData(PdsOpcode.DirtyWriteAcknowledgement)]
    public void A_report_that_fails_breaks_the_log_until_it_is_started_again_MG_41(PdsOpcode opcode)
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(Page, [All]).IsOk);
        rig.Physical.Fail(opcode, PdsStatus.Invalid);
        Assert.Equal(Errno.EIO, rig.Log.Report(All.Iova, All.Length, Page, new ulong[1]).Error.Errno);
        rig.Physical.Fail(opcode, PdsStatus.Success);
        Assert.Equal(Errno.EIO, rig.Log.Report(All.Iova, All.Length, Page, new ulong[1]).Error.Errno);
        Assert.True(rig.Log.Stop().IsOk && rig.Log.Start(Page, [All]).IsOk);
        rig.GiveAt(Page, 1);
        Assert.Equal([1], Report(rig, All));
    }

    /// <summary>Dirty pages, by number within the range.</summary>
    private static List<int> Report(PdsRig rig, LoggingRange range)
    {
        var bitmap = new ulong[4];
        var reported = rig.Log.Report(range.Iova, range.Length, Page, bitmap);
        Assert.True(reported.IsOk, reported.Error.ToString());
        return [.. Enumerable.Range(0, 64 * bitmap.Length).Where(page => (bitmap[page / 64] >> (page % 64) & 1) != 0)];
    }
}
