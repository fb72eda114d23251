using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Protocol;

// What follows the head of each command, where it is not a structure of the uAPI itself. Requests say in argsz how much reply they take.

/// <summary>VERSION, both ways; a JSON text that ends with NUL may follow ("VFIO_USER_VERSION").</summary>
public readonly record struct VersionPayload(ushort Major, ushort Minor) : IUapiStruct<VersionPayload>;

/// <summary>Flags of DMA_MAP. The last two are libvfio-user's own: they demand a descriptor, and change nothing else.</summary>
[Flags]
public enum MapFlags : uint
{
    None = 0,
    Read = 1 << 0,
    Write = 1 << 1,
    Mmap = 1 << 2,
    FileIo = 1 << 3,
}

/// <summary>DMA_MAP; 32 bytes. A descriptor may come with it, of which <paramref name="FileOffset"/> is the start.</summary>
public readonly record struct DmaMapPayload(uint Argsz, MapFlags Flags, ulong FileOffset, ulong Iova, ulong Length) : IUapiStruct<DmaMapPayload>;

[Flags]
public enum UnmapFlags : uint
{
    None = 0,

    /// <summary>Everything; address and size are 0.</summary>
    All = 1 << 1,
}

/// <summary>DMA_UNMAP, both ways; 24 bytes. It names a mapping exactly.</summary>
public readonly record struct DmaUnmapPayload(uint Argsz, UnmapFlags Flags, ulong Iova, ulong Length) : IUapiStruct<DmaUnmapPayload>;

/// <summary>DEVICE_GET_INFO, both ways; 16 bytes: the kernel's structure as it was before capabilities.</summary>
public readonly record struct DeviceInfoPayload(uint Argsz, DeviceFlags Flags, uint Regions, uint Irqs) : IUapiStruct<DeviceInfoPayload>;

/// <summary>DEVICE_GET_REGION_IO_FDS, both ways; 16 bytes. <paramref name="Count"/> entries follow in a reply.</summary>
public readonly record struct RegionIoFdsPayload(uint Argsz, uint Flags, uint Index, uint Count) : IUapiStruct<RegionIoFdsPayload>;

/// <summary>REGION_READ and REGION_WRITE, both ways; 16 bytes. The data follow, in a request to write and in a reply to a read.</summary>
public readonly record struct RegionAccessPayload(ulong Offset, uint Region, uint Count) : IUapiStruct<RegionAccessPayload>;

/// <summary>One write of REGION_WRITE_MULTI; 24 bytes. The first <paramref name="Count"/> bytes of the data are written, 8 at most.</summary>
public readonly record struct WriteMultiEntry(ulong Offset, uint Region, uint Count, ulong Data) : IUapiStruct<WriteMultiEntry>
{
    public const int MaxBytes = sizeof(ulong);
}

/// <summary>DMA_READ and DMA_WRITE, both ways; 16 bytes. The data follow, in a request to write and in a reply to a read.</summary>
public readonly record struct DmaAccessPayload(ulong Iova, ulong Count) : IUapiStruct<DmaAccessPayload>;

/// <summary>Feature DMA_LOGGING_START; 16 bytes. Its ranges follow, none for all there is.</summary>
public readonly record struct LoggingStartPayload(ulong PageSize, uint Ranges, uint Reserved) : IUapiStruct<LoggingStartPayload>;

/// <summary>Feature DMA_LOGGING_REPORT, both ways; 24 bytes. In a reply words of the bitmap follow, a bit a page.</summary>
public readonly record struct LoggingReportPayload(ulong Iova, ulong Length, ulong PageSize) : IUapiStruct<LoggingReportPayload>;

/// <summary>Feature MIG_DEVICE_STATE, both ways; 8 bytes. There is no data descriptor here: the stream goes by MIG_DATA_READ and _WRITE.</summary>
public readonly record struct DeviceStatePayload(MigrationState State, int DataFd) : IUapiStruct<DeviceStatePayload>;

/// <summary>MIG_DATA_READ and MIG_DATA_WRITE; 8 bytes. The data follow, in a request to write and in a reply to a read.</summary>
public readonly record struct MigDataPayload(uint Argsz, uint Length) : IUapiStruct<MigDataPayload>;
