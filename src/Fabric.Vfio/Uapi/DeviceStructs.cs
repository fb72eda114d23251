namespace Fabric.Vfio.Uapi;

/// <summary>GET_INFO (IO-10).</summary>
public readonly record struct VfioDeviceInfo(uint Argsz, DeviceFlags Flags, uint NumRegions, uint NumIrqs, uint CapOffset, uint Pad)
    : IInfoReply<VfioDeviceInfo>
{
    public static int MinSize => 16;

    public DeviceInfo Info => new(Flags, (int)NumRegions, (int)NumIrqs);

    public static VfioDeviceInfo Of(DeviceInfo info, uint argsz) => new(argsz, info.Flags, (uint)info.Regions, (uint)info.Irqs, 0, 0);

    public VfioDeviceInfo WithCapabilities(uint argsz, uint capOffset) =>
        this with { Argsz = argsz, Flags = Flags | DeviceFlags.Caps, CapOffset = capOffset };

    public static InfoCapability? Read(VfioInfoCapHeader header, ReadOnlySpan<byte> capability) => header.Id switch
    {
        DeviceCapabilityIds.PciAtomicCompletion => AtomicCompletionCapability.Read(capability),
        _ => RawCapability.Read(header, capability),
    };
}

/// <summary>GET_REGION_INFO (IO-20). Size in bytes; offset is where the region starts in the device file.</summary>
public readonly record struct VfioRegionInfo(uint Argsz, RegionFlags Flags, uint Index, uint CapOffset, ulong Size, ulong Offset)
    : IInfoReply<VfioRegionInfo>
{
    public static VfioRegionInfo Of(RegionInfo info, uint argsz) => new(argsz, info.Flags, (uint)info.Index, 0, info.Size, info.Offset);

    public VfioRegionInfo WithCapabilities(uint argsz, uint capOffset) =>
        this with { Argsz = argsz, Flags = Flags | RegionFlags.Caps, CapOffset = capOffset };

    public static InfoCapability? Read(VfioInfoCapHeader header, ReadOnlySpan<byte> capability) => header.Id switch
    {
        RegionCapabilityIds.SparseMmap => SparseMmapCapability.Read(capability),
        RegionCapabilityIds.Type => RegionTypeCapability.Read(capability),
        RegionCapabilityIds.MsixMappable => new MsixMappableCapability(),
        _ => RawCapability.Read(header, capability),
    };
}

/// <summary>GET_IRQ_INFO (IO-30).</summary>
public readonly record struct VfioIrqInfo(uint Argsz, IrqFlags Flags, uint Index, uint Count) : IUapiRequest<VfioIrqInfo>
{
    public IrqInfo Info => new((IrqIndex)Index, Flags, (int)Count);

    public static VfioIrqInfo Of(IrqInfo info, uint argsz) => new(argsz, info.Flags, (uint)info.Index, (uint)info.Count);
}

/// <summary>How wide the write is that an ioeventfd makes: the flag is the number of bytes.</summary>
public enum IoeventfdWidth : uint
{
    One = 1,
    Two = 2,
    Four = 4,
    Eight = 8,
}

/// <summary>IOEVENTFD (IO-70): when the eventfd fires, data is written at an offset of the device file. Fd -1 takes it back.</summary>
public readonly record struct VfioDeviceIoeventfd(uint Argsz, IoeventfdWidth Flags, ulong Offset, ulong Data, int Fd, uint Reserved)
    : IUapiRequest<VfioDeviceIoeventfd>
{
    public static int MinSize => 28;

    /// <summary>Errors: EINVAL for anything but one width, and for a descriptor below -1.</summary>
    public static VfioResult Check(VfioDeviceIoeventfd value)
    {
        if (value.Flags is not (IoeventfdWidth.One or IoeventfdWidth.Two or IoeventfdWidth.Four or IoeventfdWidth.Eight))
            return VfioResult.Fail(Errno.EINVAL, "IOEVENTFD: the flags must be exactly one width, of 1, 2, 4 or 8 bytes.");
        if (value.Fd < -1)
            return VfioResult.Fail(Errno.EINVAL, "IOEVENTFD: the descriptor is below -1; give an eventfd, or -1 to take one back.");
        return VfioResult.Ok;
    }
}

/// <summary>QUERY_GFX_PLANE, of mediated devices (contract §2.12).</summary>
public readonly record struct VfioDeviceGfxPlaneInfo(
    uint Argsz, uint Flags, uint DrmPlaneType, uint DrmFormat, ulong DrmFormatMod, uint Width, uint Height, uint Stride, uint Size,
    uint XPos, uint YPos, uint XHot, uint YHot, uint RegionIndex, uint Reserved) : IUapiRequest<VfioDeviceGfxPlaneInfo>
{
    public static int MinSize => 0;
}

/// <summary>GET_GFX_DMABUF, of mediated devices (contract §2.12).</summary>
public readonly record struct VfioDeviceGetGfxDmabuf(uint DmabufId) : IUapiStruct<VfioDeviceGetGfxDmabuf>;

/// <summary>The head of an EDID region, of mediated displays.</summary>
public readonly record struct VfioRegionGfxEdid(uint EdidOffset, uint EdidMaxSize, uint EdidSize, uint MaxXres, uint MaxYres, uint LinkState)
    : IUapiStruct<VfioRegionGfxEdid>;

[Flags]
public enum BindFlags : uint
{
    None = 0,
    Token = 1,
}

/// <summary>BIND_IOMMUFD (IO-100). The token is 16 raw bytes in the caller's memory (LC-41).</summary>
public readonly record struct VfioDeviceBindIommufd(uint Argsz, BindFlags Flags, int Iommufd, uint OutDevid, ulong TokenUuidPtr)
    : IUapiRequest<VfioDeviceBindIommufd>
{
    public static int MinSize => 16;

    public static bool IsExtensible => true;

    /// <summary>Errors: EINVAL for a negative iommufd and for unknown flags.</summary>
    public static VfioResult Check(VfioDeviceBindIommufd value)
    {
        if ((value.Flags & ~BindFlags.Token) != 0)
            return VfioResult.Fail(Errno.EINVAL, "BIND_IOMMUFD: a flag is not known; the only one is the token's.");
        if (value.Iommufd < 0)
            return VfioResult.Fail(Errno.EINVAL, "BIND_IOMMUFD: the iommufd is negative; open /dev/iommu and pass its descriptor.");
        return VfioResult.Ok;
    }
}

[Flags]
public enum AttachFlags : uint
{
    None = 0,
    Pasid = 1,
}

/// <summary>ATTACH_IOMMUFD_PT (IO-101): to an IOAS or a HWPT. The id really used is written back.</summary>
public readonly record struct VfioDeviceAttachIommufdPt(uint Argsz, AttachFlags Flags, uint PtId, uint Pasid) : IUapiRequest<VfioDeviceAttachIommufdPt>
{
    public static int MinSize => 12;

    /// <summary>Errors: EINVAL for unknown flags.</summary>
    public static VfioResult Check(VfioDeviceAttachIommufdPt value) => Pasids.CheckFlags(value.Flags);

    /// <summary>Errors, where a PASID is wanted: EOPNOTSUPP without support for it, EINVAL for an argsz that does not cover it.</summary>
    public VfioResult CheckPasid(bool supported) => Pasids.Check(Flags, supported, Argsz >= VfioDeviceAttachIommufdPt.WireSize);
}

/// <summary>DETACH_IOMMUFD_PT (IO-102).</summary>
public readonly record struct VfioDeviceDetachIommufdPt(uint Argsz, AttachFlags Flags, uint Pasid) : IUapiRequest<VfioDeviceDetachIommufdPt>
{
    public static int MinSize => 8;

    /// <summary>Errors: EINVAL for unknown flags.</summary>
    public static VfioResult Check(VfioDeviceDetachIommufdPt value) => Pasids.CheckFlags(value.Flags);

    /// <summary>Errors, where a PASID is wanted: EOPNOTSUPP without support for it, EINVAL for an argsz that does not cover it.</summary>
    public VfioResult CheckPasid(bool supported) => Pasids.Check(Flags, supported, Argsz >= VfioDeviceDetachIommufdPt.WireSize);
}

internal static class Pasids
{
    public static VfioResult CheckFlags(AttachFlags flags) => (flags & ~AttachFlags.Pasid) == 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "ATTACH or DETACH: a flag is not known; the only one is the PASID's.");

    public static VfioResult Check(AttachFlags flags, bool supported, bool covered)
    {
        if ((flags & AttachFlags.Pasid) == 0)
            return VfioResult.Ok;
        if (!supported)
            return VfioResult.Fail(Errno.EOPNOTSUPP, "ATTACH or DETACH: this driver does not support PASIDs; leave the flag out.");
        return covered
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "ATTACH or DETACH: the PASID flag is set, but argsz does not cover the PASID.");
    }
}

/// <summary>Flags of PRECOPY_INFO's reply.</summary>
[Flags]
public enum PrecopyFlags : uint
{
    None = 0,

    /// <summary>A fresh start-up set appeared (MG-26). Said only to who opted in to it.</summary>
    Reinit = 1,
}

/// <summary>MIG_GET_PRECOPY_INFO, of a migration data_fd (MG-25). In bytes.</summary>
public readonly record struct VfioPrecopyInfo(uint Argsz, PrecopyFlags Flags, ulong InitialBytes, ulong DirtyBytes) : IUapiRequest<VfioPrecopyInfo>
{
    public PrecopyInfo Info => new(InitialBytes, DirtyBytes);

    public static VfioPrecopyInfo Of(PrecopyInfo info, uint argsz, PrecopyFlags flags = PrecopyFlags.None) =>
        new(argsz, flags, info.InitialBytes, info.DirtyBytes);
}
