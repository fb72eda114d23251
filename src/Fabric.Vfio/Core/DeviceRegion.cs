using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>A driver's region at its index.</summary>
internal sealed class DeviceRegion(int index, IDeviceRegion region)
{
    public IDeviceRegion Region => region;

    public RegionInfo Info { get; } = region.Describe(index);
}
