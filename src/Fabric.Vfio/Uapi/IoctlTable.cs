using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;

namespace Fabric.Vfio.Uapi;

/// <summary>A request that the uAPI has.</summary>
/// <param name="Argument">The structure; null where there is none.</param>
/// <param name="Size">Bytes of the structure; 0 where there is none, or where it does not say its size.</param>
/// <param name="MinSize">Bytes that argsz must say at least.</param>
public sealed record IoctlRow(FdKind Fd, uint Number, string Name, Type? Argument, int Size, int MinSize)
{
    internal Func<uint, ReadOnlyMemory<byte>, VfioResult<IoctlRequest>> Decoder { get; init; } = static (number, _) => new BareIoctl(number);
}

/// <summary>The requests as data: what each number means on each kind of file.</summary>
public static class IoctlTable
{
    public static ImmutableArray<IoctlRow> All { get; } =
    [
        Bare(FdKind.Container, ContainerIoctls.GetApiVersion, "VFIO_GET_API_VERSION"),
        Value<VfioCheckExtension>(FdKind.Container, ContainerIoctls.CheckExtension, "VFIO_CHECK_EXTENSION"),
        Value<VfioSetIommu>(FdKind.Container, ContainerIoctls.SetIommu, "VFIO_SET_IOMMU"),
        Struct<VfioIommuType1Info>(FdKind.Container, ContainerIoctls.IommuGetInfo, "VFIO_IOMMU_GET_INFO"),
        Struct<VfioIommuType1DmaMap>(FdKind.Container, ContainerIoctls.IommuMapDma, "VFIO_IOMMU_MAP_DMA"),
        Struct<VfioIommuType1DmaUnmap>(FdKind.Container, ContainerIoctls.IommuUnmapDma, "VFIO_IOMMU_UNMAP_DMA"),
        Bare(FdKind.Container, ContainerIoctls.IommuEnable, "VFIO_IOMMU_ENABLE"),
        Bare(FdKind.Container, ContainerIoctls.IommuDisable, "VFIO_IOMMU_DISABLE"),
        Struct<VfioIommuType1DirtyBitmap>(FdKind.Container, ContainerIoctls.IommuDirtyPages, "VFIO_IOMMU_DIRTY_PAGES"),
        Struct<VfioEehPeOp>(FdKind.Container, ContainerIoctls.EehPeOp, "VFIO_EEH_PE_OP"),

        Struct<VfioGroupStatus>(FdKind.Group, GroupIoctls.GetStatus, "VFIO_GROUP_GET_STATUS"),
        Value<VfioGroupSetContainer>(FdKind.Group, GroupIoctls.SetContainer, "VFIO_GROUP_SET_CONTAINER"),
        Bare(FdKind.Group, GroupIoctls.UnsetContainer, "VFIO_GROUP_UNSET_CONTAINER"),
        new(FdKind.Group, GroupIoctls.GetDeviceFd, "VFIO_GROUP_GET_DEVICE_FD", null, 0, 0)
        {
            Decoder = static (_, bytes) => Widen(GetDeviceFdIoctl.Decode(bytes.Span)),
        },

        Struct<VfioDeviceInfo>(FdKind.Device, DeviceIoctls.GetInfo, "VFIO_DEVICE_GET_INFO"),
        Struct<VfioRegionInfo>(FdKind.Device, DeviceIoctls.GetRegionInfo, "VFIO_DEVICE_GET_REGION_INFO"),
        Struct<VfioIrqInfo>(FdKind.Device, DeviceIoctls.GetIrqInfo, "VFIO_DEVICE_GET_IRQ_INFO"),
        Struct<VfioIrqSet>(FdKind.Device, DeviceIoctls.SetIrqs, "VFIO_DEVICE_SET_IRQS"),
        Bare(FdKind.Device, DeviceIoctls.Reset, "VFIO_DEVICE_RESET"),
        Struct<VfioPciHotResetInfo>(FdKind.Device, DeviceIoctls.GetPciHotResetInfo, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO"),
        Struct<VfioPciHotReset>(FdKind.Device, DeviceIoctls.PciHotReset, "VFIO_DEVICE_PCI_HOT_RESET"),
        Struct<VfioDeviceGfxPlaneInfo>(FdKind.Device, DeviceIoctls.QueryGfxPlane, "VFIO_DEVICE_QUERY_GFX_PLANE"),
        Value<VfioDeviceGetGfxDmabuf>(FdKind.Device, DeviceIoctls.GetGfxDmabuf, "VFIO_DEVICE_GET_GFX_DMABUF"),
        Struct<VfioDeviceIoeventfd>(FdKind.Device, DeviceIoctls.Ioeventfd, "VFIO_DEVICE_IOEVENTFD"),
        Struct<VfioDeviceFeature>(FdKind.Device, DeviceIoctls.Feature, "VFIO_DEVICE_FEATURE"),
        Struct<VfioDeviceBindIommufd>(FdKind.Device, DeviceIoctls.BindIommufd, "VFIO_DEVICE_BIND_IOMMUFD"),
        Struct<VfioDeviceAttachIommufdPt>(FdKind.Device, DeviceIoctls.AttachIommufdPt, "VFIO_DEVICE_ATTACH_IOMMUFD_PT"),
        Struct<VfioDeviceDetachIommufdPt>(FdKind.Device, DeviceIoctls.DetachIommufdPt, "VFIO_DEVICE_DETACH_IOMMUFD_PT"),

        Struct<VfioPrecopyInfo>(FdKind.MigrationData, MigrationDataIoctls.GetPrecopyInfo, "VFIO_MIG_GET_PRECOPY_INFO"),

        Struct<IommuDestroy>(FdKind.Iommufd, IommufdIoctls.Destroy, "IOMMU_DESTROY"),
        Struct<IommuIoasAlloc>(FdKind.Iommufd, IommufdIoctls.IoasAlloc, "IOMMU_IOAS_ALLOC"),
        Struct<IommuIoasAllowIovas>(FdKind.Iommufd, IommufdIoctls.IoasAllowIovas, "IOMMU_IOAS_ALLOW_IOVAS"),
        Struct<IommuIoasCopy>(FdKind.Iommufd, IommufdIoctls.IoasCopy, "IOMMU_IOAS_COPY"),
        Struct<IommuIoasIovaRanges>(FdKind.Iommufd, IommufdIoctls.IoasIovaRanges, "IOMMU_IOAS_IOVA_RANGES"),
        Struct<IommuIoasMap>(FdKind.Iommufd, IommufdIoctls.IoasMap, "IOMMU_IOAS_MAP"),
        Struct<IommuIoasUnmap>(FdKind.Iommufd, IommufdIoctls.IoasUnmap, "IOMMU_IOAS_UNMAP"),
        Struct<IommuOption>(FdKind.Iommufd, IommufdIoctls.Option, "IOMMU_OPTION"),
        Struct<IommuVfioIoas>(FdKind.Iommufd, IommufdIoctls.VfioIoas, "IOMMU_VFIO_IOAS"),
        Struct<IommuHwptAlloc>(FdKind.Iommufd, IommufdIoctls.HwptAlloc, "IOMMU_HWPT_ALLOC"),
        Struct<IommuHwInfo>(FdKind.Iommufd, IommufdIoctls.GetHwInfo, "IOMMU_GET_HW_INFO"),
        Struct<IommuHwptSetDirtyTracking>(FdKind.Iommufd, IommufdIoctls.HwptSetDirtyTracking, "IOMMU_HWPT_SET_DIRTY_TRACKING"),
        Struct<IommuHwptGetDirtyBitmap>(FdKind.Iommufd, IommufdIoctls.HwptGetDirtyBitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP"),
        Struct<IommuHwptInvalidate>(FdKind.Iommufd, IommufdIoctls.HwptInvalidate, "IOMMU_HWPT_INVALIDATE"),
        Struct<IommuFaultAlloc>(FdKind.Iommufd, IommufdIoctls.FaultQueueAlloc, "IOMMU_FAULT_QUEUE_ALLOC"),
        Struct<IommuIoasMapFile>(FdKind.Iommufd, IommufdIoctls.IoasMapFile, "IOMMU_IOAS_MAP_FILE"),
        Struct<IommuViommuAlloc>(FdKind.Iommufd, IommufdIoctls.ViommuAlloc, "IOMMU_VIOMMU_ALLOC"),
        Struct<IommuVdeviceAlloc>(FdKind.Iommufd, IommufdIoctls.VdeviceAlloc, "IOMMU_VDEVICE_ALLOC"),
        Struct<IommuIoasChangeProcess>(FdKind.Iommufd, IommufdIoctls.IoasChangeProcess, "IOMMU_IOAS_CHANGE_PROCESS"),
        Struct<IommuVeventqAlloc>(FdKind.Iommufd, IommufdIoctls.VeventqAlloc, "IOMMU_VEVENTQ_ALLOC"),
        Struct<IommuHwQueueAlloc>(FdKind.Iommufd, IommufdIoctls.HwQueueAlloc, "IOMMU_HW_QUEUE_ALLOC"),
        Struct<IommuIoasNoiommuGetPa>(FdKind.Iommufd, IommufdIoctls.IoasNoiommuGetPa, "IOMMU_IOAS_NOIOMMU_GET_PA"),
    ];

    private static readonly FrozenDictionary<(FdKind, uint), IoctlRow> ByNumber = All.ToFrozenDictionary(row => (row.Fd, row.Number));

    /// <summary>Null for a number that this kind of file does not have.</summary>
    public static IoctlRow? Find(FdKind fd, uint number) => ByNumber.GetValueOrDefault((fd, number));

    /// <summary>
    /// A request from its bytes, by the kind of file first; a number it does not have is an <see cref="UnknownIoctl"/>. Errors: those of the
    /// structure (<c>Decode</c>).
    /// </summary>
    public static VfioResult<IoctlRequest> Decode(FdKind fd, uint number, ReadOnlyMemory<byte> bytes) =>
        Find(fd, number) is { } row ? row.Decoder(number, bytes) : new UnknownIoctl(number, bytes);

    private static IoctlRow Bare(FdKind fd, uint number, string name) => new(fd, number, name, null, 0, 0);

    // An argument without an argsz: by value, or a pointer to one number.
    private static IoctlRow Value<T>(FdKind fd, uint number, string name) where T : unmanaged, IUapiStruct<T> =>
        new(fd, number, name, typeof(T), 0, 0)
        {
            Decoder = static (number, bytes) =>
                UapiCodec.TryRead<T>(bytes.Span, out var value) ? new StructIoctl<T>(number, value) : UapiCodec.MemoryRefusal<T>(),
        };

    private static IoctlRow Struct<T>(FdKind fd, uint number, string name) where T : unmanaged, IUapiRequest<T> =>
        new(fd, number, name, typeof(T), Unsafe.SizeOf<T>(), T.MinSize)
        {
            Decoder = static (number, bytes) =>
            {
                var decoded = UapiCodec.Decode<T>(bytes.Span);
                if (!decoded.IsOk)
                    return decoded.Error;
                var tail = UapiCodec.Tail<T>(bytes.Span).Length;
                return new StructIoctl<T>(number, decoded.Value, tail == 0 ? default : bytes.Slice(Unsafe.SizeOf<T>(), tail));
            },
        };

    private static VfioResult<IoctlRequest> Widen(VfioResult<GetDeviceFdIoctl> decoded) => decoded.IsOk ? decoded.Value : decoded.Error;
}
