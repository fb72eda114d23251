namespace Fabric.Vfio.Uapi;

[Flags]
public enum IommuInfoFlags : uint
{
    None = 0,
    PageSizes = 1,
    Caps = 2,
}

[Flags]
public enum DmaMapFlags : uint
{
    None = 0,
    Read = 1,
    Write = 2,
    Vaddr = 4,
    Known = Read | Write | Vaddr,
}

[Flags]
public enum DmaUnmapFlags : uint
{
    None = 0,
    GetDirtyBitmap = 1,
    All = 2,
    Vaddr = 4,
    Known = GetDirtyBitmap | All | Vaddr,
}

[Flags]
public enum DirtyPagesFlags : uint
{
    None = 0,
    Start = 1,
    Stop = 2,
    GetBitmap = 4,
}

/// <summary>IOMMU_GET_INFO: the page sizes as a bitmap, and capabilities (IO-4).</summary>
public readonly record struct VfioIommuType1Info(uint Argsz, IommuInfoFlags Flags, ulong IovaPgsizes, uint CapOffset, uint Pad)
    : IInfoReply<VfioIommuType1Info>
{
    public static int MinSize => 16;

    public VfioIommuType1Info WithCapabilities(uint argsz, uint capOffset) =>
        this with { Argsz = argsz, Flags = Flags | IommuInfoFlags.Caps, CapOffset = capOffset };

    public static InfoCapability Read(VfioInfoCapHeader header, ReadOnlySpan<byte> capability) => RawCapability.Read(header, capability);
}

/// <summary>IOMMU_MAP_DMA. Vaddr is an address in the caller's memory; sizes in bytes.</summary>
public readonly record struct VfioIommuType1DmaMap(uint Argsz, DmaMapFlags Flags, ulong Vaddr, ulong Iova, ulong Size)
    : IUapiRequest<VfioIommuType1DmaMap>
{
    /// <summary>Errors: EINVAL for unknown flags.</summary>
    public static VfioResult Check(VfioIommuType1DmaMap value) => (value.Flags & ~DmaMapFlags.Known) == 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "IOMMU_MAP_DMA: a flag is not known; use read, write and vaddr.");
}

/// <summary>IOMMU_UNMAP_DMA; with <see cref="DmaUnmapFlags.GetDirtyBitmap"/> a <see cref="VfioBitmap"/> follows.</summary>
public readonly record struct VfioIommuType1DmaUnmap(uint Argsz, DmaUnmapFlags Flags, ulong Iova, ulong Size) : IUapiRequest<VfioIommuType1DmaUnmap>
{
    /// <summary>Errors: EINVAL for unknown flags, and for a dirty bitmap of everything or of addresses alone.</summary>
    public static VfioResult Check(VfioIommuType1DmaUnmap value)
    {
        if ((value.Flags & ~DmaUnmapFlags.Known) != 0)
            return VfioResult.Fail(Errno.EINVAL, "IOMMU_UNMAP_DMA: a flag is not known; use the dirty bitmap, all and vaddr.");
        if ((value.Flags & DmaUnmapFlags.GetDirtyBitmap) != 0 && value.Flags != DmaUnmapFlags.GetDirtyBitmap)
            return VfioResult.Fail(Errno.EINVAL, "IOMMU_UNMAP_DMA: the dirty bitmap goes with a range; leave out the flags all and vaddr.");
        return VfioResult.Ok;
    }
}

/// <summary>IOMMU_DIRTY_PAGES; with <see cref="DirtyPagesFlags.GetBitmap"/> a <see cref="VfioIommuType1DirtyBitmapGet"/> follows.</summary>
public readonly record struct VfioIommuType1DirtyBitmap(uint Argsz, DirtyPagesFlags Flags) : IUapiRequest<VfioIommuType1DirtyBitmap>
{
    /// <summary>Errors: EINVAL for anything but one known flag.</summary>
    public static VfioResult Check(VfioIommuType1DirtyBitmap value) =>
        value.Flags is DirtyPagesFlags.Start or DirtyPagesFlags.Stop or DirtyPagesFlags.GetBitmap
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "IOMMU_DIRTY_PAGES: set exactly one of start, stop and get bitmap.");
}

/// <summary>A bitmap in the caller's memory: one bit for every <paramref name="Pgsize"/> bytes, <paramref name="Size"/> bytes of it.</summary>
public readonly record struct VfioBitmap(ulong Pgsize, ulong Size, ulong Data) : IUapiStruct<VfioBitmap>;

public readonly record struct VfioIommuType1DirtyBitmapGet(ulong Iova, ulong Size, VfioBitmap Bitmap) : IUapiStruct<VfioIommuType1DirtyBitmapGet>;

/// <summary>EEH_PE_OP, of POWER machines.</summary>
public readonly record struct VfioEehPeOp(uint Argsz, uint Flags, uint Op, uint Pad, VfioEehPeErr Err) : IUapiRequest<VfioEehPeOp>
{
    public static int MinSize => 12;

    /// <summary>Errors: EINVAL for any flag.</summary>
    public static VfioResult Check(VfioEehPeOp value) => value.Flags == 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "EEH_PE_OP has no flags; set them to 0.");
}

/// <summary>The error that an EEH operation injects.</summary>
public readonly record struct VfioEehPeErr(uint Type, uint Func, ulong Addr, ulong Mask) : IUapiStruct<VfioEehPeErr>;
