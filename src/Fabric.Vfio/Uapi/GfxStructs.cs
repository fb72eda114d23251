namespace Fabric.Vfio.Uapi;

/// <summary>QUERY_GFX_PLANE, of mediated devices (contract §2.12).</summary>
public readonly record struct VfioDeviceGfxPlaneInfo(
    uint Argsz, uint Flags, uint DrmPlaneType, uint DrmFormat, ulong DrmFormatMod, uint Width, uint Height, uint Stride, uint Size,
    uint XPos, uint YPos, uint XHot, uint YHot, uint RegionIndex, uint Reserved) : IUapiRequest<VfioDeviceGfxPlaneInfo>
{
    public static int MinSize => 0;
}

/// <summary>Flags of <see cref="VfioDeviceGfxPlaneInfo"/>: in which flavour a plane is asked for, and whether only whether there is one.</summary>
public static class GfxPlane
{
    public const uint Probe = 1;
    public const uint DmaBuf = 2;
    public const uint Region = 4;
}

/// <summary>GET_GFX_DMABUF, of mediated devices (contract §2.12).</summary>
public readonly record struct VfioDeviceGetGfxDmabuf(uint DmabufId) : IUapiStruct<VfioDeviceGetGfxDmabuf>;

/// <summary>The head of an EDID region, of mediated displays.</summary>
public readonly record struct VfioRegionGfxEdid(uint EdidOffset, uint EdidMaxSize, uint EdidSize, uint MaxXres, uint MaxYres, uint LinkState)
    : IUapiStruct<VfioRegionGfxEdid>;
