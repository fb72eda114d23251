using System.Numerics;

namespace Fabric.Vfio.Dirty;

/// <summary>The user's bitmap of a report (MG-41): bits are set and never cleared, bit 0 of word 0 is the page at the report's iova.</summary>
/// <param name="iova">Where the report starts; it need not be a page's start.</param>
/// <param name="length">In bytes, not zero; the range ends within the address space.</param>
/// <param name="pageSize">In bytes, a power of two.</param>
/// <param name="words">A word for every 64 pages, rounded up.</param>
internal sealed class ReportBitmap(ulong iova, ulong length, ulong pageSize, Memory<ulong> words) : IDirtyPages
{
    private const int WordBits = 64;

    private readonly int pageShift = BitOperations.Log2(pageSize);

    public void Mark(ulong from, ulong bytes)
    {
        if (bytes == 0)
            return;
        var dirty = new IovaRange(from, bytes - 1 > ulong.MaxValue - from ? ulong.MaxValue : from + (bytes - 1));
        var whole = new IovaRange(iova, iova + (length - 1));
        if (!dirty.Overlaps(whole))
            return;
        var first = (Math.Max(dirty.First, iova) - iova) >> pageShift;
        var last = (Math.Min(dirty.Last, whole.Last) - iova) >> pageShift;
        var span = words.Span;
        for (var page = first; page <= last;)
        {
            var bit = (int)(page % WordBits);
            var count = (int)Math.Min((ulong)(WordBits - bit), last - page + 1);
            span[(int)(page / WordBits)] |= ulong.MaxValue >> (WordBits - count) << bit;
            page += (ulong)count;
        }
    }
}
