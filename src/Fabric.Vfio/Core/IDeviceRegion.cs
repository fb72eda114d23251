using System.Collections.Immutable;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>A region that a driver adds to a device (contract §2.3, index 9 and above). Calls are made by one caller at a time.</summary>
public interface IDeviceRegion
{
    /// <summary>Type and subtype of the TYPE capability.</summary>
    uint Type { get; }

    uint Subtype { get; }

    /// <summary>Bytes.</summary>
    ulong Size { get; }

    RegionFlags Flags { get; }

    /// <summary>Capabilities of its own, after TYPE.</summary>
    ImmutableArray<RegionCapability> Capabilities => [];

    /// <summary>What GET_REGION_INFO tells of it at its index.</summary>
    RegionInfo Describe(int index) => new(
        index, Flags, Size, ImmutableArray.Create<RegionCapability>(new RegionCapability.OfType(Type, Subtype)).AddRange(Capabilities));

    /// <summary>Reads from an offset that may be any. Returns the bytes read. Errors: EINVAL past its end, and its own.</summary>
    VfioResult<int> Read(ulong offset, Span<byte> destination);

    /// <summary>Writes at an offset that may be any. Returns the bytes written. Errors: EINVAL past its end, and its own.</summary>
    VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source);

    /// <summary>The device is closed (LC-31).</summary>
    void Release();
}
