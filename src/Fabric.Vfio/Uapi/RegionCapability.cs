using System.Collections.Immutable;

namespace Fabric.Vfio.Uapi;

/// <summary>A capability of a region (contract §2.3); the number is its id in the chain.</summary>
public abstract record RegionCapability
{
    private RegionCapability()
    {
    }

    /// <summary>SPARSE_MMAP (1): the parts that can be mapped, in bytes from the region's start. Drivers' alone.</summary>
    public sealed record SparseMmap(ImmutableArray<RegionArea> Areas) : RegionCapability;

    /// <summary>TYPE (2): what a device region is.</summary>
    public sealed record OfType(uint Type, uint Subtype) : RegionCapability;

    /// <summary>MSIX_MAPPABLE (3): the BAR holds the MSI-X table and may be mapped with it.</summary>
    public sealed record MsixMappable : RegionCapability
    {
        public static MsixMappable Instance { get; } = new();
    }
}

public readonly record struct RegionArea(ulong Offset, ulong Length);
