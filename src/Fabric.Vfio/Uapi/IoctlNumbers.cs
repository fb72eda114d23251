namespace Fabric.Vfio.Uapi;

/// <summary>What kind of file a request came through. The same number means different things on different ones (contract §2.12).</summary>
public enum FdKind
{
    Container,
    Group,
    Device,
    MigrationData,
    Iommufd,
}

/// <summary>Numbers are of type ';' without a size in them (IO-1).</summary>
internal static class IoctlType
{
    public const uint Vfio = (';' << 8) + 100;
    public const uint Iommufd = (';' << 8) + 0x80;
}

/// <summary>Requests of /dev/vfio/vfio: a container of type 1 IOMMU mappings.</summary>
public static class ContainerIoctls
{
    public const uint GetApiVersion = IoctlType.Vfio;
    public const uint CheckExtension = IoctlType.Vfio + 1;
    public const uint SetIommu = IoctlType.Vfio + 2;
    public const uint IommuGetInfo = IoctlType.Vfio + 12;
    public const uint IommuMapDma = IoctlType.Vfio + 13;
    public const uint IommuUnmapDma = IoctlType.Vfio + 14;
    public const uint IommuEnable = IoctlType.Vfio + 15;
    public const uint IommuDisable = IoctlType.Vfio + 16;
    public const uint IommuDirtyPages = IoctlType.Vfio + 17;
    public const uint EehPeOp = IoctlType.Vfio + 21;
}

/// <summary>Requests of /dev/vfio/N: an IOMMU group.</summary>
public static class GroupIoctls
{
    public const uint GetStatus = IoctlType.Vfio + 3;
    public const uint SetContainer = IoctlType.Vfio + 4;
    public const uint UnsetContainer = IoctlType.Vfio + 5;
    public const uint GetDeviceFd = IoctlType.Vfio + 6;
}

/// <summary>Requests of a device, from a group or a cdev; Bind, Attach and Detach of a cdev alone.</summary>
public static class DeviceIoctls
{
    public const uint GetInfo = IoctlType.Vfio + 7;
    public const uint GetRegionInfo = IoctlType.Vfio + 8;
    public const uint GetIrqInfo = IoctlType.Vfio + 9;
    public const uint SetIrqs = IoctlType.Vfio + 10;
    public const uint Reset = IoctlType.Vfio + 11;
    public const uint GetPciHotResetInfo = IoctlType.Vfio + 12;
    public const uint PciHotReset = IoctlType.Vfio + 13;
    public const uint QueryGfxPlane = IoctlType.Vfio + 14;
    public const uint GetGfxDmabuf = IoctlType.Vfio + 15;
    public const uint Ioeventfd = IoctlType.Vfio + 16;
    public const uint Feature = IoctlType.Vfio + 17;
    public const uint BindIommufd = IoctlType.Vfio + 18;
    public const uint AttachIommufdPt = IoctlType.Vfio + 19;
    public const uint DetachIommufdPt = IoctlType.Vfio + 20;
}

/// <summary>Requests of a migration data_fd.</summary>
public static class MigrationDataIoctls
{
    public const uint GetPrecopyInfo = IoctlType.Vfio + 21;
}

/// <summary>Requests of /dev/iommu.</summary>
public static class IommufdIoctls
{
    public const uint Destroy = IoctlType.Iommufd;
    public const uint IoasAlloc = IoctlType.Iommufd + 1;
    public const uint IoasAllowIovas = IoctlType.Iommufd + 2;
    public const uint IoasCopy = IoctlType.Iommufd + 3;
    public const uint IoasIovaRanges = IoctlType.Iommufd + 4;
    public const uint IoasMap = IoctlType.Iommufd + 5;
    public const uint IoasUnmap = IoctlType.Iommufd + 6;
    public const uint Option = IoctlType.Iommufd + 7;
    public const uint VfioIoas = IoctlType.Iommufd + 8;
    public const uint HwptAlloc = IoctlType.Iommufd + 9;
    public const uint GetHwInfo = IoctlType.Iommufd + 10;
    public const uint HwptSetDirtyTracking = IoctlType.Iommufd + 11;
    public const uint HwptGetDirtyBitmap = IoctlType.Iommufd + 12;
    public const uint HwptInvalidate = IoctlType.Iommufd + 13;
    public const uint FaultQueueAlloc = IoctlType.Iommufd + 14;
    public const uint IoasMapFile = IoctlType.Iommufd + 15;
    public const uint ViommuAlloc = IoctlType.Iommufd + 16;
    public const uint VdeviceAlloc = IoctlType.Iommufd + 17;
    public const uint IoasChangeProcess = IoctlType.Iommufd + 18;
    public const uint VeventqAlloc = IoctlType.Iommufd + 19;
    public const uint HwQueueAlloc = IoctlType.Iommufd + 20;
    public const uint IoasNoiommuGetPa = IoctlType.Iommufd + 21;
}
