namespace Fabric.Vfio.Dirty;

/// <summary>A range of DMA_LOGGING_START as it is asked for, in bytes: unchecked.</summary>
public readonly record struct LoggingRange(ulong Iova, ulong Length);

/// <summary>IOVAs from the first byte to the last, both of them in it, so that a range may end where the address space does.</summary>
public readonly record struct IovaRange(ulong First, ulong Last)
{
    /// <summary>In bytes; 0 for the whole address space.</summary>
    public ulong Length => Last - First + 1;

    public bool Overlaps(IovaRange other) => First <= other.Last && other.First <= Last;

    /// <summary>The whole pages that hold it.</summary>
    /// <param name="pageSize">In bytes, a power of two.</param>
    public IovaRange Widen(ulong pageSize) => new(First & ~(pageSize - 1), Last | (pageSize - 1));

    /// <summary>
    /// The ranges in ascending order, with those that overlap made one; and as long as there are more than the limit, the two with the smallest
    /// gap between them made one (MG-43). No byte of them is lost: a device that watches the outcome over-reports. A limit of 1 gives their hull.
    /// </summary>
    public static IReadOnlyList<IovaRange> Merge(IEnumerable<IovaRange> ranges, int limit)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var merged = new List<IovaRange>();
        foreach (var range in ranges.OrderBy(range => range.First))
        {
            if (merged.Count > 0 && merged[^1].Overlaps(range))
                merged[^1] = Hull(merged[^1], range);
            else
                merged.Add(range);
        }

        while (merged.Count > limit)
        {
            var narrowest = Enumerable.Range(0, merged.Count - 1).MinBy(index => merged[index + 1].First - merged[index].Last);
            merged[narrowest] = Hull(merged[narrowest], merged[narrowest + 1]);
            merged.RemoveAt(narrowest + 1);
        }

        return merged;
    }

    private static IovaRange Hull(IovaRange lower, IovaRange upper) => new(lower.First, Math.Max(lower.Last, upper.Last));
}
