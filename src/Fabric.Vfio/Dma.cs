namespace Fabric.Vfio;

/// <summary>Memory of a device's holder that DMA may reach. Pinned for as long as it is mapped.</summary>
public interface IDmaMemory
{
    /// <summary>Bytes.</summary>
    ulong Length { get; }

    /// <summary>A window on the memory itself, not a copy. The range lies within <see cref="Length"/>.</summary>
    Span<byte> Window(ulong offset, int length);
}

/// <summary>
/// The IOVA space of one open device: which memory is mapped where. Changed by the device's holder and used by hardware at the same time,
/// under one lock: when an unmap has returned, no DMA reaches that memory any more, as behind an IOMMU.
/// </summary>
public sealed class DmaMap : IDmaSpace
{
    /// <summary>The kernel's default dma_entry_limit for type 1.</summary>
    public const int MaxMappings = 65535;

    private readonly record struct Mapping(ulong Iova, ulong Length, IDmaMemory Memory)
    {
        /// <summary>The last byte: a mapping may end where the space ends, so what comes after it may have no number.</summary>
        public ulong Last => Iova + (Length - 1);
    }

    private readonly Lock gate = new();

    /// <summary>In ascending order; they do not overlap.</summary>
    private readonly List<Mapping> mappings = [];

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
    /// mapping, ENOSPC past <see cref="MaxMappings"/>.
    /// </summary>
    public VfioResult Map(ulong iova, IDmaMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        var mapping = new Mapping(iova, memory.Length, memory);
        if (mapping.Length == 0 || ((iova | mapping.Length) & 0xfff) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DMA map: IOVA and length must be multiples of 4096 and not empty.");
        if (mapping.Last < iova)
            return VfioResult.Fail(Errno.EOVERFLOW, "DMA map: the range runs past the end of the address space.");

        lock (gate)
        {
            var before = LastAtOrBelow(mapping.Last);
            if (before >= 0 && mappings[before].Last >= iova)
                return VfioResult.Fail(Errno.EEXIST, "DMA map: the range overlaps a mapping; unmap that first.");
            if (mappings.Count == MaxMappings)
                return VfioResult.Fail(Errno.ENOSPC, "DMA map: 65535 mappings are the limit; map larger ranges.");
            mappings.Insert(before + 1, mapping);
            return VfioResult.Ok;
        }
    }

    /// <summary>Unmaps the mapping that starts at an IOVA, once no DMA uses it. Errors: ENOENT where none does.</summary>
    public VfioResult Unmap(ulong iova)
    {
        lock (gate)
        {
            var index = LastAtOrBelow(iova);
            if (index < 0 || mappings[index].Iova != iova)
                return VfioResult.Fail(Errno.ENOENT, "DMA unmap: nothing is mapped at this IOVA.");
            mappings.RemoveAt(index);
            return VfioResult.Ok;
        }
    }

    public void Clear()
    {
        lock (gate)
            mappings.Clear();
    }

    public bool TryWrite(ulong iova, ReadOnlySpan<byte> source)
    {
        lock (gate)
        {
            if (Find(iova, source.Length) is not { } found)
                return false;
            source.CopyTo(found.Memory.Window(iova - found.Iova, source.Length));
            return true;
        }
    }

    public bool TryRead(ulong iova, Span<byte> destination)
    {
        lock (gate)
        {
            if (Find(iova, destination.Length) is not { } found)
                return false;
            found.Memory.Window(iova - found.Iova, destination.Length).CopyTo(destination);
            return true;
        }
    }

    private Mapping? Find(ulong iova, int length)
    {
        var index = LastAtOrBelow(iova);
        if (index < 0)
            return null;
        var mapping = mappings[index];
        var offset = iova - mapping.Iova;
        return offset < mapping.Length && (ulong)length <= mapping.Length - offset ? mapping : null;
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
