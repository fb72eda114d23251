namespace Fabric.Vfio.Uapi;

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
public readonly record struct VfioDeviceAttachIommufdPt(uint Argsz, AttachFlags Flags, uint PtId, uint Pasid)
    : IUapiRequest<VfioDeviceAttachIommufdPt>
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
