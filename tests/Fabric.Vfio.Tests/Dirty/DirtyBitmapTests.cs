using CsCheck;
using Fabric.Vfio.Dirty;

namespace Fabric.Vfio.Tests.Dirty;

public sealed class DirtyBitmapTests
{
    private const uint Page = 4096;
    private const ulong Start = 0x1_0000_0000;

    /// <summary>Enough pages for several words and a last word that is not full.</summary>
    private const long Pages = 200;

    private static readonly Gen<Change> AnyChange = Gen.Select(
        Gen.Int[0, 2],
        Gen.ULong[Start - (3 * Page), Start + ((Pages + 3) * Page)],
        Gen.OneOf(Gen.ULong[0, 3 * Page], Gen.ULong[0, (Pages + 6) * Page]),
        (kind, iova, length) => new Change((ChangeKind)kind, iova, length));

    private enum ChangeKind
    {
        Mark,
        Clear,
        Merge,
    }

    [Theory]
    [InlineData(0UL, 0x1000UL, 0u)]
    [InlineData(0UL, 0x1000UL, 2048u)]
    [InlineData(0UL, 0x3000UL, 0x3000u)]
    [InlineData(0x800UL, 0x1000UL, 4096u)]
    [InlineData(0UL, 0UL, 4096u)]
    [InlineData(0UL, 0x1800UL, 4096u)]
    [InlineData(0xffff_ffff_ffff_f000UL, 0x2000UL, 4096u)]
    [InlineData(0UL, 0x800_0000_1000UL, 4096u)]
    public void A_range_that_is_not_whole_pages_or_too_large_is_refused(ulong iova, ulong length, uint pageSize) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new DirtyBitmap(iova, length, pageSize));

    [Fact]
    public void A_new_bitmap_is_clean()
    {
        var bitmap = New();

        Assert.Equal((Pages, 0L), (bitmap.PageCount, bitmap.DirtyPages));
        Assert.Empty(bitmap.Runs);
    }

    [Fact]
    public void One_byte_makes_its_page_dirty()
    {
        var bitmap = New();
        bitmap.Mark(Start + (5 * Page) - 1, 1);

        Assert.Equal([(Start + (4 * Page), (ulong)Page)], bitmap.Runs);
    }

    [Fact]
    public void Two_bytes_across_a_border_make_both_pages_dirty()
    {
        var bitmap = New();
        bitmap.Mark(Start + (5 * Page) - 1, 2);

        Assert.Equal([(Start + (4 * Page), 2UL * Page)], bitmap.Runs);
    }

    [Fact]
    public void No_bytes_make_nothing_dirty()
    {
        var bitmap = New();
        bitmap.Mark(Start + 1, 0);

        Assert.Equal(0, bitmap.DirtyPages);
    }

    [Theory]
    [InlineData(0UL, Start)]
    [InlineData(Start + (Pages * Page), ulong.MaxValue)]
    [InlineData(ulong.MaxValue, 1UL)]
    public void Bytes_outside_the_range_are_passed_over(ulong iova, ulong length)
    {
        var bitmap = New();
        bitmap.Mark(iova, length);

        Assert.Equal(0, bitmap.DirtyPages);
    }

    [Theory]
    [InlineData(0UL, ulong.MaxValue)]
    [InlineData(Start - 1, ulong.MaxValue)]
    public void Bytes_beyond_both_ends_make_the_whole_range_dirty(ulong iova, ulong length)
    {
        var bitmap = New();
        bitmap.Mark(iova, length);

        Assert.Equal([(Start, Pages * Page)], bitmap.Runs);
    }

    [Fact]
    public void A_page_marked_twice_counts_once()
    {
        var bitmap = New();
        bitmap.Mark(Start, Page);
        bitmap.Mark(Start, Page);

        Assert.Equal(1, bitmap.DirtyPages);
    }

    [Fact]
    public void A_run_goes_on_across_words()
    {
        var bitmap = New();
        bitmap.Mark(Start + (60 * Page), 100 * Page);

        Assert.Equal([(Start + (60 * Page), 100UL * Page)], bitmap.Runs);
    }

    [Fact]
    public void A_range_may_end_at_the_very_end_of_the_address_space()
    {
        var bitmap = new DirtyBitmap(ulong.MaxValue - (64 * Page) + 1, 64 * Page, Page);
        bitmap.Mark(ulong.MaxValue, 1);

        Assert.Equal([(ulong.MaxValue - Page + 1, (ulong)Page)], bitmap.Runs);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(Pages)]
    public void A_page_outside_the_range_has_no_state(long page) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => New().IsDirty(page));

    [Fact]
    public void Clear_leaves_a_page_dirty_of_which_it_covers_only_a_part()
    {
        var bitmap = New();
        bitmap.Mark(Start, 4 * Page);
        bitmap.Clear(Start + 1, (3 * Page) - 2);

        Assert.Equal([(Start, (ulong)Page), (Start + (2 * Page), 2UL * Page)], bitmap.Runs);
    }

    [Fact]
    public void Clear_without_a_range_cleans_everything()
    {
        var bitmap = New();
        bitmap.Mark(Start, Pages * Page);
        bitmap.Clear();

        Assert.Equal(0, bitmap.DirtyPages);
        Assert.Empty(bitmap.Runs);
    }

    [Theory]
    [InlineData(0UL, 4, 3)]
    [InlineData(Start + (3 * Page) + 5, 4, 3)]
    [InlineData(Start + (5 * Page) + 5, 5, 2)]
    [InlineData(Start + (7 * Page), 150, 1)]
    [InlineData(Start + (150 * Page) + 4095, 150, 1)]
    [InlineData(Start + (151 * Page), -1, 0)]
    [InlineData(Start + (Pages * Page), -1, 0)]
    [InlineData(ulong.MaxValue, -1, 0)]
    public void The_next_run_is_what_is_dirty_from_there_on(ulong from, long page, long pages)
    {
        var bitmap = New();
        bitmap.Mark(Start + (4 * Page), 3 * Page);
        bitmap.Mark(Start + (150 * Page), Page);

        Assert.Equal(page < 0 ? null : (Start + ((ulong)page * Page), (ulong)pages * Page), bitmap.NextRun(from));
    }

    [Fact]
    public void OrInto_adds_its_bits_and_clears_none_MG_41()
    {
        var bitmap = New();
        bitmap.Mark(Start, Page);
        bitmap.Mark(Start + (64 * Page), Page);
        ulong[] user = [0x8, 0, 0, 0x80, 0xff];
        bitmap.OrInto(user);

        Assert.Equal([0x9, 0x1, 0, 0x80, 0xff], user);
    }

    [Fact]
    public void OrInto_refuses_a_bitmap_that_is_too_short() =>
        Assert.Throws<ArgumentException>(() => New().OrInto(new ulong[3]));

    [Fact]
    public void Merging_smaller_pages_makes_every_larger_page_dirty_that_holds_one()
    {
        var small = new DirtyBitmap(Start, 64 * Page, Page);
        small.Mark(Start + (17 * Page), Page);
        var large = new DirtyBitmap(Start, 64 * Page, 16 * Page);
        large.MergeFrom(small);

        Assert.Equal([(Start + (16 * Page), 16UL * Page)], large.Runs);
    }

    [Fact]
    public void Merging_another_range_takes_what_lies_in_this_one()
    {
        var other = new DirtyBitmap(Start - (10 * Page), 20 * Page, Page);
        other.Mark(other.Iova, other.Length);
        var bitmap = New();
        bitmap.MergeFrom(other);

        Assert.Equal([(Start, 10UL * Page)], bitmap.Runs);
    }

    [Fact]
    public void It_agrees_with_a_set_of_page_numbers_whatever_is_done_to_it() =>
        AnyChange.Array[1, 30].Sample(changes =>
        {
            var bitmap = New();
            var model = new HashSet<long>();
            foreach (var change in changes)
            {
                Apply(change, bitmap);
                Apply(change, model);
            }

            Assert.Equal(model.Count, bitmap.DirtyPages);
            Assert.Equal(model.Order(), Range(0, Pages).Where(bitmap.IsDirty));
            Assert.Equal(RunsOf(model), bitmap.Runs);
        });

    private static DirtyBitmap New() => new(Start, Pages * Page, Page);

    private static void Apply(Change change, DirtyBitmap bitmap)
    {
        switch (change.Kind)
        {
            case ChangeKind.Mark:
                bitmap.Mark(change.Iova, change.Length);
                break;
            case ChangeKind.Clear:
                bitmap.Clear(change.Iova, change.Length);
                break;
            case ChangeKind.Merge:
                var other = New();
                other.Mark(change.Iova, change.Length);
                bitmap.MergeFrom(other);
                break;
        }
    }

    /// <summary>Page by page, by the plain definition of touching and of lying within.</summary>
    private static void Apply(Change change, HashSet<long> model)
    {
        foreach (var page in Range(0, Pages))
        {
            var (first, end) = (Start + ((ulong)page * Page), Start + ((ulong)(page + 1) * Page));
            var changeEnd = change.Iova + change.Length;
            if (change.Kind == ChangeKind.Clear && change.Iova <= first && end <= changeEnd)
                model.Remove(page);
            if (change.Kind != ChangeKind.Clear && change.Length > 0 && change.Iova < end && first < changeEnd)
                model.Add(page);
        }
    }

    private static IEnumerable<(ulong Iova, ulong Length)> RunsOf(HashSet<long> model) =>
        from first in model.Order()
        where !model.Contains(first - 1)
        let count = Range(first, Pages + 1).TakeWhile(model.Contains).LongCount()
        select (Start + ((ulong)first * Page), (ulong)count * Page);

    private static IEnumerable<long> Range(long first, long end)
    {
        for (var page = first; page < end; page++)
            yield return page;
    }

    private readonly record struct Change(ChangeKind Kind, ulong Iova, ulong Length);
}
