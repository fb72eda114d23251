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
