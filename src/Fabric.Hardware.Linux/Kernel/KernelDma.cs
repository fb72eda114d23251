using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>The DMA of one function behind the IOMMU: what its holder maps is mapped there too, or by neither.</summary>
internal sealed class KernelDma(AddressSpace iommu) : IDmaObserver
{
    private readonly Dictionary<ulong, DmaMapping> mapped = [];
    private IDmaSpace? space;

    /// <summary>Puts it behind a space, or (null) cuts it off: when it has returned, nothing of the one before is reached.</summary>
    /// <exception cref="InvalidOperationException">The IOMMU does not do it: the device has failed.</exception>
    public void Connect(IDmaSpace? next)
    {
        space?.Unobserve(this);
        space = null;
        foreach (var mapping in mapped.Values.ToArray())
            OnUnmapping(mapping);
        if (next?.Observe(this) is { IsOk: false } refused)
            throw new InvalidOperationException(refused.Error.Sentence);
        space = next;
    }

    public VfioResult OnMapped(DmaMapping mapping)
    {
        var done = iommu.Map(mapping);
        if (done.IsOk)
            mapped.Add(mapping.Iova, mapping);
        return done;
    }

    /// <exception cref="InvalidOperationException">The IOMMU keeps it: the memory may be reached still, so the device has failed.</exception>
    public void OnUnmapping(DmaMapping mapping)
    {
        if (!mapped.Remove(mapping.Iova))
            return;
        if (iommu.Unmap(mapping) is { IsOk: false } refused)
            throw new InvalidOperationException(refused.Error.Sentence);
    }
}
