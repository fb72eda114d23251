using System.Buffers.Binary;
using System.Numerics;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// A type 1 IOMMU: the requests of a container that are about one address space. Which pages devices wrote is not known to it: with dirty
/// tracking on, all that is mapped is dirty.
/// </summary>
/// <param name="isVersion2">Type 1 v2: mappings are undone whole, never in part. In version 1 a range undoes those that start in it.</param>
internal sealed class Type1(DmaMap space, bool isVersion2)
{
    private const ulong PageBytes = 4096;
    private const ulong PageSizes = PageBytes | (1UL << 21) | (1UL << 30);
    private const ulong MaxBitmapBytes = 1UL << 28;

    private const uint Version1 = 1;
    private const uint Version2 = 3;
    private const uint CoherentDma = 4;
    private const uint UnmapAll = 9;

    private bool tracking;

    public DmaMap Space => space;

    /// <summary>CHECK_EXTENSION.</summary>
    public static bool HasExtension(ulong extension) => extension is Version1 or Version2 or CoherentDma or UnmapAll;

    /// <summary>SET_IOMMU.</summary>
    public static bool Supports(ulong type) => type is Version1 or Version2;

    public static bool IsVersion2(ulong type) => type == Version2;

    /// <summary>Errors: ENOTTY for what is not of this IOMMU, and those of each request.</summary>
    public VfioResult<int> Ioctl(uint number, ulong argument, IUserMemory memory) => number switch
    {
        ContainerIoctls.IommuGetInfo => GetInfo(argument, memory),
        ContainerIoctls.IommuMapDma => Map(argument, memory),
        ContainerIoctls.IommuUnmapDma => Unmap(argument, memory),
        ContainerIoctls.IommuDirtyPages => DirtyPages(argument, memory),
        _ => new VfioError(Errno.ENOTTY, "A container with a type 1 IOMMU has no such ioctl."),
    };

    // ---- IOMMU_GET_INFO --------------------------------------------------------------------------------------------------------------

    private VfioResult<int> GetInfo(ulong argument, IUserMemory memory)
    {
        var fetched = memory.Fetch<VfioIommuType1Info>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        var info = new VfioIommuType1Info(fetched.Value.Argsz, IommuInfoFlags.PageSizes, PageSizes, 0, 0);
        return memory.Respond(argument, info, fetched.Value.Argsz, [MigrationCapability, AvailableCapability, RangesCapability]);
    }

    private static RawCapability MigrationCapability { get; } = new(1, 1, Numbers(0, PageBytes, MaxBitmapBytes));

    private static RawCapability RangesCapability { get; } = new(2, 1, Numbers(1, 0, ulong.MaxValue));

    private RawCapability AvailableCapability => new(3, 1, Numbers((ulong)(DmaMap.MaxMappings - space.Count)).AsMemory(0, sizeof(uint)));

    private static byte[] Numbers(params ReadOnlySpan<ulong> numbers)
    {
        var bytes = new byte[numbers.Length * sizeof(ulong)];
        for (var i = 0; i < numbers.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(i * sizeof(ulong)), numbers[i]);
        return bytes;
    }

    // ---- IOMMU_MAP_DMA ---------------------------------------------------------------------------------------------------------------

    /// <summary>Errors, in this order: EFAULT, EINVAL, EOPNOTSUPP, EOVERFLOW, EINVAL, EEXIST, ENOSPC, EFAULT.</summary>
    private VfioResult<int> Map(ulong argument, IUserMemory memory)
    {
        var fetched = memory.Fetch<VfioIommuType1DmaMap>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        var asked = fetched.Value;
        if ((asked.Flags & DmaMapFlags.Vaddr) != 0)
            return NoVaddr;
        var access = ((asked.Flags & DmaMapFlags.Read) != 0 ? DmaAccess.Read : DmaAccess.None) |
                     ((asked.Flags & DmaMapFlags.Write) != 0 ? DmaAccess.Write : DmaAccess.None);
        if (access == DmaAccess.None)
            return new VfioError(Errno.EINVAL, "IOMMU_MAP_DMA: a mapping is for reading, for writing, or both; set a flag.");
        if (asked.Size == 0 || ((asked.Size | asked.Iova | asked.Vaddr) & (PageBytes - 1)) != 0)
            return Misaligned;
        var last = asked.Size - 1;
        if (last > ulong.MaxValue - asked.Iova || last > ulong.MaxValue - asked.Vaddr)
            return TooFar;
        if (space.Between(asked.Iova, asked.Iova + last).Count > 0)
            return new VfioError(Errno.EEXIST, "IOMMU_MAP_DMA: the range overlaps a mapping; unmap that first.");
        if (space.Count == DmaMap.MaxMappings)
            return new VfioError(Errno.ENOSPC, "IOMMU_MAP_DMA: 65535 mappings are the limit; map larger ranges.");
        if (!memory.TryPin(asked.Vaddr, asked.Size, access, out var pinned))
            return UserMemory.Fault;
        var mapped = space.Map(asked.Iova, pinned, access);
        return mapped.IsOk ? 0 : mapped.Error;
    }

    // ---- IOMMU_UNMAP_DMA -------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// The size that was unmapped is written back, 0 where nothing was mapped. Errors: EFAULT, EINVAL (also for a part of a mapping, in version
    /// 2), EOPNOTSUPP, EOVERFLOW.
    /// </summary>
    private VfioResult<int> Unmap(ulong argument, IUserMemory memory)
    {
        var fetched = memory.Fetch<VfioIommuType1DmaUnmap>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        var asked = fetched.Value;
        if ((asked.Flags & DmaUnmapFlags.Vaddr) != 0)
            return NoVaddr;
        var bitmap = default(VfioBitmap);
        if ((asked.Flags & DmaUnmapFlags.GetDirtyBitmap) != 0)
        {
            var read = Bitmap(asked, argument, memory);
            if (!read.IsOk)
                return read.Error;
            bitmap = read.Value;
        }

        var whole = (asked.Flags & DmaUnmapFlags.All) != 0;
        if (((asked.Iova | asked.Size) & (PageBytes - 1)) != 0 || whole != (asked.Size == 0) || (whole && asked.Iova != 0))
            return Misaligned;
        if (!whole && asked.Size - 1 > ulong.MaxValue - asked.Iova)
            return TooFar;
        if ((asked.Flags & DmaUnmapFlags.GetDirtyBitmap) != 0 && (!tracking || bitmap.Pgsize != PageBytes))
            return NotTracking;
        var last = whole ? ulong.MaxValue : asked.Iova + (asked.Size - 1);
        var mappings = space.Between(asked.Iova, last);
        var cut = mappings.Count > 0 && (mappings[0].Iova < asked.Iova || mappings[^1].Last > last);
        if (isVersion2 && cut)
            return new VfioError(Errno.EINVAL, "IOMMU_UNMAP_DMA: the range cuts a mapping in two; unmap it whole.");
        var unmapped = 0UL;
        foreach (var mapping in mappings)
        {
            if (mapping.Iova < asked.Iova)
                break;
            if (bitmap.Size != 0 && !TryMarkDirty(mapping, asked.Iova, bitmap, memory))
                return UserMemory.Fault;
            unmapped += space.Release(mapping.Iova, mapping.Iova);
        }

        return memory.Respond(argument, asked with { Size = unmapped }, asked.Argsz);
    }

    private static VfioResult<VfioBitmap> Bitmap(VfioIommuType1DmaUnmap asked, ulong argument, IUserMemory memory)
    {
        if (asked.Argsz < (uint)(VfioIommuType1DmaUnmap.WireSize + VfioBitmap.WireSize))
            return new VfioError(Errno.EINVAL, "IOMMU_UNMAP_DMA: argsz does not cover the dirty bitmap.");
        if (!memory.TryGet(argument + (ulong)VfioIommuType1DmaUnmap.WireSize, out VfioBitmap bitmap))
            return UserMemory.Fault;
        return Covers(bitmap, asked.Size) ? bitmap : TooSmall;
    }

    // ---- IOMMU_DIRTY_PAGES -----------------------------------------------------------------------------------------------------------

    /// <summary>Errors: EACCES in version 1, EFAULT, EINVAL.</summary>
    private VfioResult<int> DirtyPages(ulong argument, IUserMemory memory)
    {
        if (!isVersion2)
            return new VfioError(Errno.EACCES, "IOMMU_DIRTY_PAGES: only a type 1 v2 IOMMU tracks dirty pages.");
        var fetched = memory.Fetch<VfioIommuType1DirtyBitmap>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        if (fetched.Value.Flags != DirtyPagesFlags.GetBitmap)
        {
            tracking = fetched.Value.Flags == DirtyPagesFlags.Start;
            return 0;
        }

        if (fetched.Value.Argsz < (uint)(VfioIommuType1DirtyBitmap.WireSize + VfioIommuType1DirtyBitmapGet.WireSize))
            return new VfioError(Errno.EINVAL, "IOMMU_DIRTY_PAGES: argsz does not cover the range and its bitmap.");
        if (!memory.TryGet(argument + (ulong)VfioIommuType1DirtyBitmap.WireSize, out VfioIommuType1DirtyBitmapGet asked))
            return UserMemory.Fault;
        return Report(asked, memory);
    }

    private VfioResult<int> Report(VfioIommuType1DirtyBitmapGet asked, IUserMemory memory)
    {
        if (asked.Iova + asked.Size < asked.Iova)
            return new VfioError(Errno.EINVAL, "IOMMU_DIRTY_PAGES: the range runs past the end of the address space.");
        if (!Covers(asked.Bitmap, asked.Size))
            return TooSmall;
        if (asked.Bitmap.Pgsize != PageBytes || asked.Size == 0 || ((asked.Iova | asked.Size) & (PageBytes - 1)) != 0)
            return Misaligned;
        if (!tracking)
            return NotTracking;
        var last = asked.Iova + (asked.Size - 1);
        var mappings = space.Between(asked.Iova, last);
        if (mappings.Count > 0 && (mappings[0].Iova < asked.Iova || mappings[^1].Last > last))
            return new VfioError(Errno.EINVAL, "IOMMU_DIRTY_PAGES: the range cuts a mapping in two; ask for it whole.");
        foreach (var mapping in mappings)
        {
            if (!TryMarkDirty(mapping, asked.Iova, asked.Bitmap, memory))
                return UserMemory.Fault;
        }

        return 0;
    }

    private static bool TryMarkDirty(DmaMapping mapping, ulong start, VfioBitmap bitmap, IUserMemory memory) =>
        UserBitmap.TrySet(memory, bitmap.Data, (mapping.Iova - start) / PageBytes, (mapping.Last - start) / PageBytes);

    /// <summary>A bitmap holds a bit for every page, in whole words, and is no longer than the kernel lets it be.</summary>
    private static bool Covers(VfioBitmap bitmap, ulong bytes)
    {
        if (bitmap.Pgsize == 0 || bitmap.Size == 0 || bitmap.Size > MaxBitmapBytes)
            return false;
        var pages = bytes >> BitOperations.TrailingZeroCount(bitmap.Pgsize);
        return pages != 0 && bitmap.Size / sizeof(ulong) > (pages - 1) / (8 * sizeof(ulong));
    }

    private static VfioError NoVaddr => new(Errno.EOPNOTSUPP, "Addresses of a mapping cannot be changed; CHECK_EXTENSION says so.");

    private static VfioError Misaligned => new(Errno.EINVAL, "A range of type 1 is whole pages of 4096 bytes, and not empty.");

    private static VfioError TooFar => new(Errno.EOVERFLOW, "The range runs past the end of the address space.");

    private static VfioError TooSmall => new(Errno.EINVAL, "The bitmap has no bit for every page, or is longer than 256 MiB.");

    private static VfioError NotTracking => new(Errno.EINVAL, "Dirty pages are not tracked, or not by pages of 4096 bytes; start tracking first.");
}
