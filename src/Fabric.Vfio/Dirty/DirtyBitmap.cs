using System.Numerics;

namespace Fabric.Vfio.Dirty;

/// <summary>
/// Which pages of one iova range a device has written to: a bit a page, bit 0 of word 0 for the page at <see cref="Iova"/>, as
/// DMA_LOGGING_REPORT lays it out (MG-41). Whatever is not whole pages is rounded so that dirt is over-reported, never under-reported.
/// Not thread-safe: neither calls nor an enumeration of <see cref="Runs"/> may overlap with a change.
/// </summary>
public sealed class DirtyBitmap : IDirtyPages
{
    /// <summary>As many pages as a bitmap of 256 MiB covers: 8 TiB of 4 KiB pages. More is taken for a mistake.</summary>
    public const long MaxPages = 1L << 31;

    private const uint MinPageSize = 4096;
    private const int WordBits = 64;

    private readonly ulong[] words;
    private readonly int pageShift;

    /// <param name="iova">Start in bytes, a multiple of the page size.</param>
    /// <param name="length">In bytes, a multiple of the page size, not zero; at most <see cref="MaxPages"/> pages.</param>
    /// <param name="pageSize">In bytes, a power of two, 4096 or more (MG-41).</param>
    /// <exception cref="ArgumentOutOfRangeException">One of these does not hold, or the range ends beyond 2^64.</exception>
    public DirtyBitmap(ulong iova, ulong length, uint pageSize)
    {
        if (pageSize < MinPageSize || !BitOperations.IsPow2(pageSize))
            throw new ArgumentOutOfRangeException(nameof(pageSize), pageSize, "A page size is a power of two, 4096 or more.");
        if (iova % pageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(iova), iova, "The range must start on a page.");
        if (length == 0 || length % pageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(length), length, "The range must be one or more whole pages.");
        if (length - 1 > ulong.MaxValue - iova)
            throw new ArgumentOutOfRangeException(nameof(length), length, "The range ends beyond the 64-bit address space.");
        if (length / pageSize > MaxPages)
            throw new ArgumentOutOfRangeException(nameof(length), length, "The range has more than 2^31 pages.");

        (Iova, Length, PageSize) = (iova, length, pageSize);
        pageShift = BitOperations.Log2(pageSize);
        PageCount = (long)(length >> pageShift);
        words = new ulong[(PageCount + WordBits - 1) / WordBits];
    }

    /// <summary>Start of the range, in bytes.</summary>
    public ulong Iova { get; }

    /// <summary>Length of the range, in bytes.</summary>
    public ulong Length { get; }

    /// <summary>Bytes a bit stands for.</summary>
    public uint PageSize { get; }

    public long PageCount { get; }

    public long DirtyPages { get; private set; }

    /// <summary>
    /// The dirty pages as runs, each as long as it can be, in ascending order; iova and length in bytes.
    /// </summary>
    public IEnumerable<(ulong Iova, ulong Length)> Runs
    {
        get
        {
            for (var first = NextDirty(0); first < PageCount;)
            {
                var end = NextClean(first);
                yield return Run(first, end);
                first = NextDirty(end);
            }
        }
    }

    /// <summary>
    /// The first run of dirty pages from an iova on, in bytes; of a run that the iova lies in, what is left from its page on. Null where
    /// there is none up to the end of the range.
    /// </summary>
    public (ulong Iova, ulong Length)? NextRun(ulong iova)
    {
        if (iova > Iova + (Length - 1))
            return null;
        var first = NextDirty(iova <= Iova ? 0 : (long)((iova - Iova) >> pageShift));
        return first < PageCount ? Run(first, NextClean(first)) : null;
    }

    /// <summary>Whether a page is dirty; page 0 is the one at <see cref="Iova"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such page.</exception>
    public bool IsDirty(long page)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(page);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(page, PageCount);
        return ((words[page / WordBits] >> (int)(page % WordBits)) & 1) != 0;
    }

    /// <summary>
    /// Marks every page that has a byte of the <paramref name="length"/> bytes at <paramref name="iova"/>. Bytes outside the range of
    /// this bitmap are not its to track, and are passed over.
    /// </summary>
    public void Mark(ulong iova, ulong length)
    {
        if (!Meets(iova, length, out var first, out var last))
            return;
        Write((long)(first >> pageShift), (long)(last >> pageShift) + 1, dirty: true);
    }

    /// <summary>
    /// Cleans every page that lies wholly within the <paramref name="length"/> bytes at <paramref name="iova"/>, as a report of them
    /// does (MG-41). A page of which only a part is there stays dirty: the rest of it has not been reported.
    /// </summary>
    public void Clear(ulong iova, ulong length)
    {
        if (!Meets(iova, length, out var first, out var last))
            return;
        Write((long)((first + PageSize - 1) >> pageShift), (long)((last + 1) >> pageShift), dirty: false);
    }

    /// <summary>Cleans every page.</summary>
    public void Clear()
    {
        Array.Clear(words);
        DirtyPages = 0;
    }

    /// <summary>
    /// Marks all that is dirty in another bitmap, which may be of another range and page size; of it counts what lies in this range.
    /// </summary>
    public void MergeFrom(DirtyBitmap other)
    {
        if ((other.Iova, other.Length, other.PageSize) == (Iova, Length, PageSize))
        {
            for (var index = 0; index < words.Length; index++)
                Set(index, other.words[index]);
            return;
        }

        foreach (var (iova, length) in other.Runs)
            Mark(iova, length);
    }

    /// <summary>ORs the bits into a bitmap of the same layout, and clears none there (MG-41).</summary>
    /// <param name="bitmap">A word for every 64 pages, rounded up; words beyond that are left alone.</param>
    /// <exception cref="ArgumentException">It is too short.</exception>
    public void OrInto(Span<ulong> bitmap)
    {
        if (bitmap.Length < words.Length)
            throw new ArgumentException("The bitmap has fewer words than the range has pages for.", nameof(bitmap));
        for (var index = 0; index < words.Length; index++)
            bitmap[index] |= words[index];
    }

    /// <summary>The first and last byte of an interval that lie in this range, counted from <see cref="Iova"/>.</summary>
    private bool Meets(ulong iova, ulong length, out ulong first, out ulong last)
    {
        (first, last) = (0, 0);
        if (length == 0)
            return false;
        var end = length - 1 > ulong.MaxValue - iova ? ulong.MaxValue : iova + (length - 1);
        if (end < Iova || iova > Iova + (Length - 1))
            return false;
        first = Math.Max(iova, Iova) - Iova;
        last = Math.Min(end - Iova, Length - 1);
        return true;
    }

    /// <summary>Marks or cleans the pages from first up to end, exclusive, a word at a time.</summary>
    private void Write(long first, long end, bool dirty)
    {
        for (var page = first; page < end;)
        {
            var bit = (int)(page % WordBits);
            var count = (int)Math.Min(WordBits - bit, end - page);
            var mask = ulong.MaxValue >> (WordBits - count) << bit;
            if (dirty)
                Set((int)(page / WordBits), mask);
            else
                Reset((int)(page / WordBits), mask);
            page += count;
        }
    }

    private void Set(int word, ulong mask)
    {
        DirtyPages += BitOperations.PopCount(mask & ~words[word]);
        words[word] |= mask;
    }

    private void Reset(int word, ulong mask)
    {
        DirtyPages -= BitOperations.PopCount(mask & words[word]);
        words[word] &= ~mask;
    }

    private (ulong Iova, ulong Length) Run(long first, long end) => (Iova + ((ulong)first << pageShift), (ulong)(end - first) << pageShift);

    private long NextDirty(long page) => NextSet(page, invert: 0);

    private long NextClean(long page) => NextSet(page, invert: ulong.MaxValue);

    /// <summary>The first page from <paramref name="page"/> on whose bit, inverted or not, is set, or the page count.</summary>
    private long NextSet(long page, ulong invert)
    {
        if (page >= PageCount)
            return PageCount;
        var index = (int)(page / WordBits);
        var word = (words[index] ^ invert) & (ulong.MaxValue << (int)(page % WordBits));
        while (word == 0)
        {
            if (++index == words.Length)
                return PageCount;
            word = words[index] ^ invert;
        }

        // The spare bits of the last word are clear; inverted, the first of them is found, and that one is the page count.
        return ((long)index * WordBits) + BitOperations.TrailingZeroCount(word);
    }
}
