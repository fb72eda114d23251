using CsCheck;

namespace Fabric.Vfio.Tests;

public sealed class DmaMapTests
{
    private const ulong Page = 0x1000;
    private const ulong LastPage = ulong.MaxValue - 0xfff;

    private readonly DmaMap map = new();

    [Theory]
    [InlineData(0UL, 0UL)]
    [InlineData(0UL, 1UL)]
    [InlineData(0UL, Page + 8)]
    [InlineData(8UL, Page)]
    [InlineData(0x800UL, 0x800UL)]
    public void What_is_empty_or_not_whole_pages_is_EINVAL(ulong iova, ulong length) =>
        Assert.Equal(Errno.EINVAL, map.Map(iova, new FakeMemory(length)).Error.Errno);

    [Theory]
    [InlineData(LastPage, 2 * Page)]
    [InlineData(2 * Page, LastPage)]
    public void A_range_past_the_end_of_the_space_is_EOVERFLOW(ulong iova, ulong length) =>
        Assert.Equal(Errno.EOVERFLOW, map.Map(iova, new FakeMemory(length)).Error.Errno);

    [Fact]
    public void The_last_page_of_the_space_can_be_mapped_and_reached()
    {
        Assert.True(map.Map(LastPage, new FakeMemory(Page)).IsOk);
        Assert.True(map.TryWrite(ulong.MaxValue - 7, new byte[8]));
    }

    [Fact]
    public void An_access_past_the_end_of_the_space_does_not_wrap_to_its_start()
    {
        map.Map(LastPage, new FakeMemory(Page));
        map.Map(0, new FakeMemory(Page));

        Assert.False(map.TryWrite(ulong.MaxValue - 7, new byte[16]));
    }

    [Theory]
    [InlineData(0x10000UL, Page)]
    [InlineData(0x11000UL, Page)]
    [InlineData(0xf000UL, 2 * Page)]
    [InlineData(0x11000UL, 4 * Page)]
    [InlineData(0UL, 0x100000UL)]
    public void A_range_over_a_live_mapping_is_EEXIST(ulong iova, ulong length)
    {
        map.Map(0x10000, new FakeMemory(2 * Page));

        Assert.Equal(Errno.EEXIST, map.Map(iova, new FakeMemory(length)).Error.Errno);
        Assert.Equal(1, map.Count);
    }

    [Theory]
    [InlineData(0xf000UL)]
    [InlineData(0x12000UL)]
    public void A_range_that_only_touches_a_mapping_is_taken(ulong iova)
    {
        map.Map(0x10000, new FakeMemory(2 * Page));

        Assert.True(map.Map(iova, new FakeMemory(Page)).IsOk);
    }

    [Fact]
    public void One_mapping_past_the_limit_is_ENOSPC()
    {
        for (ulong i = 0; i < DmaMap.MaxMappings; i++)
            Assert.True(map.Map(i * Page, new SmallMemory()).IsOk);

        Assert.Equal(Errno.ENOSPC, map.Map((ulong)DmaMap.MaxMappings * Page, new SmallMemory()).Error.Errno);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0x11000UL)]
    public void Unmapping_what_no_mapping_starts_at_is_ENOENT(ulong iova)
    {
        map.Map(0x10000, new FakeMemory(2 * Page));

        Assert.Equal(Errno.ENOENT, map.Unmap(iova).Error.Errno);
        Assert.Equal(1, map.Count);
    }

    [Fact]
    public void What_is_unmapped_is_no_longer_reached()
    {
        map.Map(0, new FakeMemory(Page));

        Assert.True(map.Unmap(0).IsOk);
        Assert.False(map.TryWrite(0, new byte[8]));
    }

    [Fact]
    public void A_range_can_be_mapped_again_after_it_was_unmapped()
    {
        map.Map(0, new FakeMemory(Page));
        map.Unmap(0);

        Assert.True(map.Map(0, new FakeMemory(Page)).IsOk);
    }

    [Fact]
    public void What_DMA_writes_the_holder_and_DMA_read()
    {
        var memory = new FakeMemory(Page);
        map.Map(0x4000_0000, memory);
        var read = new byte[2];

        Assert.True(map.TryWrite(0x4000_0010, [0xca, 0xfe]));
        Assert.True(map.TryRead(0x4000_0010, read));
        Assert.Equal([0xca, 0xfe], read);
        Assert.Equal([0xca, 0xfe], memory.Window(0x10, 2).ToArray());
    }

    [Fact]
    public void A_write_that_leaves_its_mapping_writes_nothing()
    {
        var memory = new FakeMemory(Page);
        map.Map(0, memory);

        Assert.False(map.TryWrite(Page - 4, [1, 2, 3, 4, 5, 6, 7, 8]));
        Assert.Equal(new byte[4], memory.Window(Page - 4, 4).ToArray());
    }

    [Fact]
    public void A_read_that_leaves_its_mapping_reads_nothing()
    {
        map.Map(0, new FakeMemory(Page));
        var read = new byte[] { 9, 9, 9, 9, 9, 9, 9, 9 };

        Assert.False(map.TryRead(Page - 4, read));
        Assert.All(read, value => Assert.Equal(9, value));
    }

    [Fact]
    public void Unmapping_waits_until_DMA_under_way_is_over()
    {
        var unmapped = 0;
        var unmapper = new Thread(() =>
        {
            map.Unmap(0);
            Volatile.Write(ref unmapped, 1);
        });
        var unmappedDuringWrite = false;
        var memory = new FakeMemory(Page)
        {
            OnWindow = () =>
            {
                unmapper.Start();
                while (Volatile.Read(ref unmapped) == 0 && unmapper.ThreadState != ThreadState.WaitSleepJoin)
                    Thread.Yield();
                unmappedDuringWrite = Volatile.Read(ref unmapped) != 0;
            },
        };
        map.Map(0, memory);

        map.TryWrite(0, [1]);
        unmapper.Join();

        Assert.False(unmappedDuringWrite);
    }

    /// <summary>The engine of a device runs while its holder maps and unmaps: what is mapped all the time must be reached all the time.</summary>
    [Fact]
    public async Task DMA_reaches_what_stays_mapped_while_other_ranges_come_and_go()
    {
        map.Map(0x8000_0000, new FakeMemory(Page));
        using var done = new CancellationTokenSource();
        var engine = Task.Run(() =>
        {
            var (writes, missed) = (0L, 0L);
            while (!done.IsCancellationRequested || writes == 0)
            {
                if (!map.TryWrite(0x8000_0000 + (ulong)(writes % 512 * 8), new byte[8]))
                    missed++;
                writes++;
            }

            return missed;
        });
        for (ulong round = 0; round < 20_000; round++)
        {
            var iova = round % 64 * Page;
            if (!map.Map(iova, new SmallMemory()).IsOk)
                map.Unmap(iova);
        }

        await done.CancelAsync();

        Assert.Equal(0, await engine);
    }

    /// <summary>Against a list of ranges that is looked through byte range by byte range.</summary>
    [Fact]
    public void Any_walk_of_maps_and_unmaps_agrees_with_a_plain_list_of_ranges() =>
        Gen.Select(Gen.Int[0, 2], Gen.ULong[0, 15], Gen.ULong[0, 4], (kind, page, pages) => (kind, page, pages)).Array[0, 60].Sample(walk =>
        {
            var walked = new DmaMap();
            var model = new List<(ulong Start, ulong End)>();
            foreach (var (kind, page, pages) in walk)
            {
                if (kind == 0)
                {
                    var errno = walked.Map(page * Page, new FakeMemory(pages * Page)).Error.Errno;
                    var expected = pages == 0 ? Errno.EINVAL :
                        model.Any(range => page < range.End && range.Start < page + pages) ? Errno.EEXIST : Errno.None;
                    Assert.Equal(expected, errno);
                    if (expected == Errno.None)
                        model.Add((page, page + pages));
                }
                else if (kind == 1)
                {
                    var removed = model.RemoveAll(range => range.Start == page);
                    Assert.Equal(removed > 0 ? Errno.None : Errno.ENOENT, walked.Unmap(page * Page).Error.Errno);
                }
                else
                {
                    var (first, last) = (page * Page, (page * Page) + (pages * 1024));
                    var reached = model.Any(range => first >= range.Start * Page && last < range.End * Page);
                    Assert.Equal(reached, walked.TryWrite(first, new byte[(pages * 1024) + 1]));
                }

                Assert.Equal(model.Count, walked.Count);
            }
        });

    [Fact]
    public void An_observer_is_told_of_what_is_mapped_and_of_each_change()
    {
        var map = new DmaMap();
        var (first, second) = (new Observer(), new Observer());
        map.Map(0x1000, new FakeMemory(0x1000));
        Assert.True(map.Observe(first).IsOk);
        Assert.True(map.Observe(second).IsOk);
        map.Map(0x3000, new FakeMemory(0x2000));
        map.Unmap(0x1000);
        map.Unobserve(first);
        map.Clear();
        Assert.Equal(["+1000", "+3000", "-1000"], first.Told);
        Assert.Equal(["+1000", "+3000", "-1000", "-3000"], second.Told);
    }

    [Fact]
    public void What_one_observer_refuses_is_not_mapped_and_those_before_it_let_it_go()
    {
        var map = new DmaMap();
        var (first, second) = (new Observer(), new Observer { Refuses = new VfioError(Errno.ENOSPC, "full") });
        map.Observe(first);
        map.Observe(second);
        Assert.Equal(Errno.ENOSPC, map.Map(0x1000, new FakeMemory(0x1000)).Error.Errno);
        Assert.Equal((0, Errno.ENOENT), (map.Count, map.Unmap(0x1000).Error.Errno));
        Assert.Equal(["+1000", "-1000"], first.Told);
        map.Unobserve(second);
        Assert.True(map.Map(0x1000, new FakeMemory(0x1000)).IsOk);
    }

    [Fact]
    public void An_observer_that_refuses_what_is_there_is_told_of_nothing_more()
    {
        var map = new DmaMap();
        map.Map(0x1000, new FakeMemory(0x1000));
        var observer = new Observer { Refuses = new VfioError(Errno.ENOSPC, "full") };
        Assert.Equal(Errno.ENOSPC, map.Observe(observer).Error.Errno);
        map.Unmap(0x1000);
        Assert.Equal(["+1000"], observer.Told);
    }

    private sealed class Observer : IDmaObserver
    {
        public List<string> Told { get; } = [];

        public VfioError? Refuses { get; init; }

        public VfioResult OnMapped(DmaMapping mapping)
        {
            Told.Add($"+{mapping.Iova:x}");
            return Refuses ?? VfioResult.Ok;
        }

        public void OnUnmapping(DmaMapping mapping) => Told.Add($"-{mapping.Iova:x}");
    }

    private sealed class SmallMemory : IDmaMemory
    {
        private static readonly byte[] Shared = new byte[Page];

        public ulong Length => Page;

        public Span<byte> Window(ulong offset, int length) => Shared.AsSpan((int)offset, length);
    }
}
