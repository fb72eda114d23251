using CsCheck;
using Fabric.Vfio.Dirty;

namespace Fabric.Vfio.Tests.Dirty;

/// <summary>DMA logging (contract §6.6).</summary>
public sealed class DirtyLogTests
{
    private const ulong Page = 4096;

    private readonly FakeLog device = new();
    private readonly DirtyLog log;

    public DirtyLogTests() => log = new DirtyLog(device);

    [Fact]
    public void A_start_without_a_range_is_EINVAL_MG_40() => Assert.Equal(Errno.EINVAL, log.Start(Page, []).Error.Errno);

    [Fact]
    public void More_than_256_ranges_are_E2BIG_MG_40() =>
        Assert.Equal(Errno.E2BIG, log.Start(Page, [.. Enumerable.Range(0, 257).Select(i => new LoggingRange((ulong)i * 2 * Page, Page))]).Error.Errno);

    [Fact]
    public void As_many_as_256_ranges_are_taken_MG_40() =>
        Assert.True(log.Start(Page, [.. Enumerable.Range(0, 256).Select(i => new LoggingRange((ulong)i * 2 * Page, Page))]).IsOk);

    [Theory]
    [InlineData(1, Page)]
    [InlineData(0, Page + 1)]
    public void A_range_that_is_not_whole_pages_is_EINVAL_MG_40(ulong iova, ulong length) =>
        Assert.Equal(Errno.EINVAL, log.Start(Page, [new LoggingRange(iova, length)]).Error.Errno);

    [Fact]
    public void A_range_past_the_address_space_is_EOVERFLOW_MG_40() =>
        Assert.Equal(Errno.EOVERFLOW, log.Start(Page, [new LoggingRange(ulong.MaxValue - Page + 1, 2 * Page)]).Error.Errno);

    [Fact]
    public void Ranges_that_overlap_are_EINVAL_MG_40() =>
        Assert.Equal(Errno.EINVAL, log.Start(Page, [new LoggingRange(0, 2 * Page), new LoggingRange(Page, Page)]).Error.Errno);

    [Fact]
    public void A_second_start_is_EINVAL_MG_40()
    {
        log.Start(Page, [new LoggingRange(0, Page)]);

        Assert.Equal(Errno.EINVAL, log.Start(Page, [new LoggingRange(0, Page)]).Error.Errno);
    }

    [Theory]
    [InlineData(4096UL, 4096UL)]
    [InlineData(65536UL, 8192UL)]
    [InlineData(1024UL, 4096UL)]
    public void The_page_size_is_a_hint_and_what_was_taken_is_told_MG_40(ulong hint, ulong taken) =>
        Assert.Equal(taken, log.Start(hint, [new LoggingRange(0, 65536)]).Value);

    [Fact]
    public void A_report_of_a_log_that_is_off_is_EINVAL_MG_41() => Assert.Equal(Errno.EINVAL, log.Report(0, Page, Page, new ulong[1]).Error.Errno);

    [Theory]
    [InlineData(2048UL)]
    [InlineData(5000UL)]
    public void A_report_by_an_impossible_page_size_is_EINVAL_MG_41(ulong pageSize) =>
        Assert.Equal(Errno.EINVAL, Started().Report(0, Page, pageSize, new ulong[1]).Error.Errno);

    [Fact]
    public void A_report_past_the_address_space_is_EOVERFLOW_MG_41() =>
        Assert.Equal(Errno.EOVERFLOW, Started().Report(ulong.MaxValue - Page + 1, 2 * Page, Page, new ulong[1]).Error.Errno);

    [Fact]
    public void A_report_sets_bits_and_clears_none_of_the_users_MG_41()
    {
        Started();
        device.Dirty.Add(2 * Page);
        var bitmap = new ulong[] { 0b1000_0000 };

        log.Report(0, 64 * Page, Page, bitmap);

        Assert.Equal(0b1000_0100UL, bitmap[0]);
    }

    [Fact]
    public void What_was_reported_is_cleared_in_the_device_MG_41()
    {
        Started();
        device.Dirty.Add(2 * Page);
        log.Report(0, 64 * Page, Page, new ulong[1]);
        var again = new ulong[1];

        log.Report(0, 64 * Page, Page, again);

        Assert.Equal(0UL, again[0]);
    }

    [Fact]
    public void A_broken_log_is_EIO_until_it_is_started_again_MG_41()
    {
        Started();
        device.IsLost = true;
        log.Report(0, Page, Page, new ulong[1]);
        device.IsLost = false;

        Assert.Equal((Errno.EIO, DirtyLogState.Broken), (log.Report(0, Page, Page, new ulong[1]).Error.Errno, log.State));
        log.Stop();
        Assert.True(Started().Report(0, Page, Page, new ulong[1]).IsOk);
    }

    [Fact]
    public void Stopping_a_log_that_is_off_succeeds_MG_42() => Assert.True(log.Stop().IsOk);

    [Fact]
    public void A_limit_of_one_gives_the_hull_MG_43() => Assert.Equal(
        [new IovaRange(0, (10 * Page) - 1)], IovaRange.Merge([new IovaRange(0, Page - 1), new IovaRange(9 * Page, (10 * Page) - 1)], limit: 1));

    [Fact]
    public void The_smallest_gap_is_closed_first_MG_43() => Assert.Equal(
        [new IovaRange(0, (3 * Page) - 1), new IovaRange(9 * Page, (10 * Page) - 1)],
        IovaRange.Merge([new IovaRange(9 * Page, (10 * Page) - 1), new IovaRange(0, Page - 1), new IovaRange(2 * Page, (3 * Page) - 1)], limit: 2));

    [Fact]
    public void Merged_ranges_keep_to_the_limit_and_lose_no_byte_MG_43() =>
        Gen.Select(Gen.Select(Gen.ULong[0, 1000], Gen.ULong[1, 50]).List[1, 20], Gen.Int[1, 5]).Sample((ranges, limit) =>
        {
            var asked = ranges.Select(range => new IovaRange(range.Item1, range.Item1 + range.Item2 - 1)).ToArray();

            var merged = IovaRange.Merge(asked, limit);

            Assert.InRange(merged.Count, 1, limit);
            Assert.All(asked, range => Assert.Single(merged, whole => whole.First <= range.First && range.Last <= whole.Last));
        });

    [Theory]
    [InlineData(true, true, false, DirtyTracker.DeviceLog)]
    [InlineData(false, true, true, DirtyTracker.IommuBits)]
    [InlineData(false, false, true, DirtyTracker.EverythingDirty)]
    [InlineData(false, false, false, DirtyTracker.None)]
    public void The_devices_log_is_preferred_then_the_IOMMUs_MG_44(bool deviceLog, bool iommuBits, bool forced, DirtyTracker tracker) =>
        Assert.Equal(tracker, DirtyTrackers.Choose(deviceLog, iommuBits, forced));

    [Fact]
    public void A_log_that_the_device_ended_is_off_and_can_be_started_again_MG_42()
    {
        Started();

        device.HasEnded = true;

        Assert.Equal((DirtyLogState.Off, 0UL, 0), (log.State, log.PageSize, log.Watched.Count));
        Assert.Equal(Errno.EINVAL, log.Report(0, Page, Page, new ulong[1]).Error.Errno);
        Assert.True(log.Stop().IsOk);
        Assert.Equal(DirtyLogState.On, Started().State);
    }

    private DirtyLog Started()
    {
        Assert.True(log.Start(Page, [new LoggingRange(0, 1024 * Page)]).IsOk);
        return log;
    }

    private sealed class FakeLog : IDirtyLogOps
    {
        public HashSet<ulong> Dirty { get; } = [];

        public bool IsLost { get; set; }

        public bool HasEnded { get; set; }

        public int MaxRanges => 4;

        public ulong PageSizes => 4096 | 8192;

        public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
        {
            HasEnded = false;
            return VfioResult.Ok;
        }

        public VfioResult Stop() => VfioResult.Ok;

        public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
        {
            if (IsLost)
                return VfioResult.Fail(Errno.EIO, "The log is lost.");
            foreach (var page in Dirty.Where(page => range.First <= page && page <= range.Last).ToArray())
            {
                dirty.Mark(page, Page);
                Dirty.Remove(page);
            }

            return VfioResult.Ok;
        }
    }
}
