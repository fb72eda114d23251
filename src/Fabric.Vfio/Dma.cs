namespace Fabric.Vfio;

/// <summary>What a device may do with what is mapped.</summary>
[Flags]
public enum DmaAccess
{
    None = 0,
    Read = 1 << 0,
    Write = 1 << 1,
    ReadWrite = Read | Write,
}

/// <summary>What DMA reaches: memory, or a device's own. Used under the lock of a <see cref="DmaMap"/>, so it never waits for one.</summary>
public interface IDmaTarget
{
    /// <summary>Bytes.</summary>
    ulong Length { get; }

    /// <summary>The range lies within <see cref="Length"/>. False where there is nothing to be read, now or any more.</summary>
    bool TryRead(ulong offset, Span<byte> destination);

    /// <summary>The range lies within <see cref="Length"/>. False where there is nothing to be written, now or any more.</summary>
    bool TryWrite(ulong offset, ReadOnlySpan<byte> source);
}

/// <summary>Memory of a device's holder that DMA may reach. Pinned for as long as it is mapped.</summary>
public interface IDmaMemory : IDmaTarget
{
    /// <summary>A window on the memory itself, not a copy. The range lies within <see cref="IDmaTarget.Length"/>.</summary>
    Span<byte> Window(ulong offset, int length);

    bool IDmaTarget.TryRead(ulong offset, Span<byte> destination)
    {
        Window(offset, destination.Length).CopyTo(destination);
        return true;
    }

    bool IDmaTarget.TryWrite(ulong offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(Window(offset, source.Length));
        return true;
    }
}

/// <summary>One range of IOVAs, in bytes, and what lies behind it.</summary>
public readonly record struct DmaMapping(ulong Iova, ulong Length, IDmaTarget Target, DmaAccess Access)
{
    /// <summary>The last byte: a mapping may end where the space ends, so what comes after it may have no number.</summary>
    public ulong Last => Iova + (Length - 1);
}

/// <summary>Hardware that keeps tables of its own of what is mapped. Told by one caller at a time, with no lock held that DMA waits for.</summary>
public interface IDmaObserver
{
    /// <summary>From now on this is mapped. Its error refuses the mapping.</summary>
    VfioResult OnMapped(DmaMapping mapping);

    /// <summary>This is about to be unmapped: when it has returned, the hardware's table does not have it any more.</summary>
    void OnUnmapping(DmaMapping mapping);
}

/// <summary>
/// The IOVA space of one open device: which memory is mapped where. Changed by the device's holder and used by hardware at the same time,
/// under one lock: when an unmap has returned, no DMA reaches that memory any more, as behind an IOMMU.
/// </summary>
public sealed class DmaMap : IDmaSpace
{
    /// <summary>The kernel's default dma_entry_limit for type 1.</summary>
    public const int MaxMappings = 65535;

    private readonly Lock gate = new();

    /// <summary>Held while observers are told, and never while DMA waits.</summary>
    private readonly Lock changing = new();

    /// <summary>In ascending order; they do not overlap.</summary>
    private readonly List<DmaMapping> mappings = [];
    private readonly List<IDmaObserver> observers = [];

    public int Count
    {
        get
        {
            lock (gate)
                return mappings.Count;
        }
    }

    /// <summary>
    /// Errors: EINVAL for a range that is empty or not page-aligned, EOVERFLOW past the end of the space, EEXIST over a live
    /// mapping, ENOSPC past <see cref="MaxMappings"/>; those of hardware that keeps tables of its own.
    /// </summary>
    public VfioResult Map(ulong iova, IDmaTarget memory, DmaAccess access = DmaAccess.ReadWrite)
    {
        ArgumentNullException.ThrowIfNull(memory);
        var mapping = new DmaMapping(iova, memory.Length, memory, access);
        if (mapping.Length == 0 || ((iova | mapping.Length) & 0xfff) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DMA map: IOVA and length must be multiples of 4096 and not empty.");
        if (mapping.Last < iova)
            return VfioResult.Fail(Errno.EOVERFLOW, "DMA map: the range runs past the end of the address space.");

        lock (changing)
        {
            var inserted = Insert(mapping);
            if (!inserted.IsOk)
                return inserted;
            var told = Tell(mapping);
            if (!told.IsOk)
                Remove(iova);
            return told;
        }
    }

    /// <summary>Unmaps the mapping that starts at an IOVA, once no DMA uses it. Errors: ENOENT where none does.</summary>
    public VfioResult Unmap(ulong iova)
    {
        lock (changing)
        {
            if (At(iova) is not { } mapping)
                return VfioResult.Fail(Errno.ENOENT, "DMA unmap: nothing is mapped at this IOVA.");
            foreach (var observer in observers)
                observer.OnUnmapping(mapping);
            Remove(iova);
            return VfioResult.Ok;
        }
    }

    /// <summary>
    /// Tells an observer of all that is mapped, and of each change from now on. Errors: the first with which it refuses a mapping; then it is told
    /// of nothing more.
    /// </summary>
    public VfioResult Observe(IDmaObserver observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        lock (changing)
        {
            foreach (var mapping in Between(0, ulong.MaxValue))
            {
                if (observer.OnMapped(mapping) is { IsOk: false } refused)
                    return refused;
            }

            observers.Add(observer);
            return VfioResult.Ok;
        }
    }

    /// <summary>An observer that is told of nothing any more, nor of what is mapped still.</summary>
    public void Unobserve(IDmaObserver observer)
    {
        lock (changing)
            observers.Remove(observer);
    }

    /// <summary>Every mapping that has a byte of a range, in ascending order.</summary>
    public IReadOnlyList<DmaMapping> Between(ulong first, ulong last)
    {
        lock (gate)
        {
            var end = LastAtOrBelow(last) + 1;
            var start = Math.Max(LastAtOrBelow(first), 0);
            if (start < end && mappings[start].Last < first)
                start++;
            return start < end ? mappings.GetRange(start, end - start) : [];
        }
    }

    /// <summary>The lowest range of so many bytes in which nothing is mapped; null where there is none.</summary>
    /// <param name="length">Not 0.</param>
    public ulong? FindGap(ulong length)
    {
        lock (gate)
        {
            var start = 0UL;
            foreach (var mapping in mappings)
            {
                if (mapping.Iova - start >= length)
                    return start;
                if (mapping.Last == ulong.MaxValue)
                    return null;
                start = mapping.Last + 1;
            }

            return length - 1 <= ulong.MaxValue - start ? start : null;
        }
    }

    public void Clear()
    {
        lock (changing)
        {
            if (observers.Count > 0)
            {
                foreach (var mapping in Between(0, ulong.MaxValue))
                    observers.ForEach(observer => observer.OnUnmapping(mapping));
            }

            lock (gate)
                mappings.Clear();
        }
    }

    public bool TryWrite(ulong iova, ReadOnlySpan<byte> source)
    {
        lock (gate)
        {
            return Find(iova, source.Length, DmaAccess.Write) is { } found && found.Target.TryWrite(iova - found.Iova, source);
        }
    }

    public bool TryRead(ulong iova, Span<byte> destination)
    {
        lock (gate)
        {
            return Find(iova, destination.Length, DmaAccess.Read) is { } found && found.Target.TryRead(iova - found.Iova, destination);
        }
    }

    private VfioResult Insert(DmaMapping mapping)
    {
        lock (gate)
        {
            var before = LastAtOrBelow(mapping.Last);
            if (before >= 0 && mappings[before].Last >= mapping.Iova)
                return VfioResult.Fail(Errno.EEXIST, "DMA map: the range overlaps a mapping; unmap that first.");
            if (mappings.Count == MaxMappings)
                return VfioResult.Fail(Errno.ENOSPC, "DMA map: 65535 mappings are the limit; map larger ranges.");
            mappings.Insert(before + 1, mapping);
            return VfioResult.Ok;
        }
    }

    private void Remove(ulong iova)
    {
        lock (gate)
            mappings.RemoveAt(LastAtOrBelow(iova));
    }

    /// <summary>All observers take it, or those that have taken it let it go again.</summary>
    private VfioResult Tell(DmaMapping mapping)
    {
        for (var told = 0; told < observers.Count; told++)
        {
            if (observers[told].OnMapped(mapping) is not { IsOk: false } refused)
                continue;
            while (--told >= 0)
                observers[told].OnUnmapping(mapping);
            return refused;
        }

        return VfioResult.Ok;
    }

    private DmaMapping? At(ulong iova)
    {
        lock (gate)
            return LastAtOrBelow(iova) is >= 0 and var index && mappings[index].Iova == iova ? mappings[index] : null;
    }

    private DmaMapping? Find(ulong iova, int length, DmaAccess access)
    {
        var index = LastAtOrBelow(iova);
        if (index < 0)
            return null;
        var mapping = mappings[index];
        var offset = iova - mapping.Iova;
        return (mapping.Access & access) != 0 && offset < mapping.Length && (ulong)length <= mapping.Length - offset ? mapping : null;
    }

    /// <summary>Which mapping is the last one that starts at an IOVA or below it; -1 where none does.</summary>
    private int LastAtOrBelow(ulong iova)
    {
        var (low, high) = (0, mappings.Count);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (mappings[middle].Iova <= iova)
                low = middle + 1;
            else
                high = middle;
        }

        return low - 1;
    }
}
