namespace Fabric.Vfio.Uapi;

/// <summary>
/// The argument of an iommufd request. Its first u32 is named size there and is argsz' equal; bytes past the known structure must be zero
/// (E2BIG). Pointers are addresses in the caller's memory; ids are iommufd's object ids.
/// </summary>
public interface IIommufdRequest<TSelf> : IUapiRequest<TSelf> where TSelf : unmanaged, IIommufdRequest<TSelf>
{
    static bool IUapiRequest<TSelf>.IsExtensible => true;
}

public readonly record struct IommuDestroy(uint Size, uint Id) : IIommufdRequest<IommuDestroy>;

public readonly record struct IommuIoasAlloc(uint Size, uint Flags, uint OutIoasId) : IIommufdRequest<IommuIoasAlloc>;

/// <summary><paramref name="AllowedIovas"/> points to <paramref name="NumIovas"/> ranges of first and last address.</summary>
public readonly record struct IommuIoasAllowIovas(uint Size, uint IoasId, uint NumIovas, uint Reserved, ulong AllowedIovas)
    : IIommufdRequest<IommuIoasAllowIovas>;

public readonly record struct IommuIoasCopy(uint Size, IoasMapFlags Flags, uint DstIoasId, uint SrcIoasId, ulong Length, ulong DstIova, ulong SrcIova)
    : IIommufdRequest<IommuIoasCopy>;

/// <summary><paramref name="AllowedIovas"/> points to room for <paramref name="NumIovas"/> ranges of first and last address.</summary>
public readonly record struct IommuIoasIovaRanges(
    uint Size, uint IoasId, uint NumIovas, uint Reserved, ulong AllowedIovas, ulong OutIovaAlignment) : IIommufdRequest<IommuIoasIovaRanges>;

/// <summary>Flags of IOAS_MAP, IOAS_MAP_FILE and IOAS_COPY.</summary>
[Flags]
public enum IoasMapFlags : uint
{
    None = 0,
    FixedIova = 1,
    Writeable = 2,
    Readable = 4,
}

public readonly record struct IommuIoasMap(uint Size, IoasMapFlags Flags, uint IoasId, uint Reserved, ulong UserVa, ulong Length, ulong Iova)
    : IIommufdRequest<IommuIoasMap>;

public readonly record struct IommuIoasUnmap(uint Size, uint IoasId, ulong Iova, ulong Length) : IIommufdRequest<IommuIoasUnmap>;

public readonly record struct IommuOption(uint Size, uint OptionId, ushort Op, ushort Reserved, uint ObjectId, ulong Val64)
    : IIommufdRequest<IommuOption>;

public readonly record struct IommuVfioIoas(uint Size, uint IoasId, ushort Op, ushort Reserved) : IIommufdRequest<IommuVfioIoas>;

public readonly record struct IommuHwptAlloc(
    uint Size, uint Flags, uint DevId, uint PtId, uint OutHwptId, uint Reserved, uint DataType, uint DataLen, ulong DataUptr, uint FaultId,
    uint Reserved2) : IIommufdRequest<IommuHwptAlloc>
{
    public static int MinSize => 24;
}

/// <param name="DataType">In: the kind of data wanted. Out: the kind given.</param>
public readonly record struct IommuHwInfo(
    uint Size, uint Flags, uint DevId, uint DataLen, ulong DataUptr, uint DataType, byte OutMaxPasidLog2, byte Reserved, ushort Reserved2,
    ulong OutCapabilities) : IIommufdRequest<IommuHwInfo>
{
    public static int MinSize => 32;
}

public readonly record struct IommuHwptSetDirtyTracking(uint Size, uint Flags, uint HwptId, uint Reserved)
    : IIommufdRequest<IommuHwptSetDirtyTracking>;

/// <summary>One bit for every page; <paramref name="Data"/> is an address (MG-44).</summary>
public readonly record struct IommuHwptGetDirtyBitmap(
    uint Size, uint HwptId, uint Flags, uint Reserved, ulong Iova, ulong Length, ulong PageSize, ulong Data)
    : IIommufdRequest<IommuHwptGetDirtyBitmap>;

public readonly record struct IommuHwptInvalidate(
    uint Size, uint HwptId, ulong DataUptr, uint DataType, uint EntryLen, uint EntryNum, uint Reserved) : IIommufdRequest<IommuHwptInvalidate>;

public readonly record struct IommuFaultAlloc(uint Size, uint Flags, uint OutFaultId, uint OutFaultFd) : IIommufdRequest<IommuFaultAlloc>;

public readonly record struct IommuIoasMapFile(uint Size, IoasMapFlags Flags, uint IoasId, int Fd, ulong Start, ulong Length, ulong Iova)
    : IIommufdRequest<IommuIoasMapFile>;

public readonly record struct IommuViommuAlloc(
    uint Size, uint Flags, uint Type, uint DevId, uint HwptId, uint OutViommuId, uint DataLen, uint Reserved, ulong DataUptr)
    : IIommufdRequest<IommuViommuAlloc>
{
    public static int MinSize => 24;
}

public readonly record struct IommuVdeviceAlloc(uint Size, uint ViommuId, uint DevId, uint OutVdeviceId, ulong VirtId)
    : IIommufdRequest<IommuVdeviceAlloc>;

public readonly record struct IommuIoasChangeProcess(uint Size, uint Reserved) : IIommufdRequest<IommuIoasChangeProcess>;

public readonly record struct IommuVeventqAlloc(
    uint Size, uint Flags, uint ViommuId, uint Type, uint VeventqDepth, uint OutVeventqId, uint OutVeventqFd, uint Reserved)
    : IIommufdRequest<IommuVeventqAlloc>
{
    public static int MinSize => 28;
}

public readonly record struct IommuHwQueueAlloc(
    uint Size, uint Flags, uint ViommuId, uint Type, uint Index, uint OutHwQueueId, ulong NestingParentIova, ulong Length)
    : IIommufdRequest<IommuHwQueueAlloc>;

public readonly record struct IommuIoasNoiommuGetPa(uint Size, uint Flags, uint IoasId, uint Reserved, ulong Iova, ulong Length, ulong OutPhys)
    : IIommufdRequest<IommuIoasNoiommuGetPa>;
