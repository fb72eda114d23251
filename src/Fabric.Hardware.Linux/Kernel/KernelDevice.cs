using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>
/// An open device of the kernel's VFIO. Each member is a system call, and its errors are the kernel's (contract §2). Safe to use from any thread;
/// disposing closes the device, which the kernel resets then.
/// </summary>
public sealed class KernelDevice : IDisposable
{
    private const int PageBytes = 4096;

    private readonly Descriptor file;
    private readonly KernelVfio vfio;
    private readonly AddressSpace space;
    private readonly VfioRegionInfo[] regions;
    private bool isClosed;

    private KernelDevice(Descriptor file, KernelVfio vfio, AddressSpace space, DeviceInfo info, VfioRegionInfo[] regions)
    {
        (this.file, this.vfio, this.space, this.regions) = (file, vfio, space, regions);
        Info = info;
    }

    public DeviceInfo Info { get; }

    /// <summary>What its DMA reaches, with all devices of its group.</summary>
    internal AddressSpace Space => space;

    /// <summary>
    /// GET_INFO and every GET_REGION_INFO: they do not change while the device is open. Errors: the kernel's; the descriptor is the caller's still.
    /// </summary>
    internal static VfioResult<KernelDevice> Describe(Descriptor file, KernelVfio vfio, AddressSpace space)
    {
        var info = new VfioDeviceInfo((uint)VfioDeviceInfo.WireSize, 0, 0, 0, 0, 0);
        var told = KernelCall.Ioctl(file, DeviceIoctls.GetInfo, ref info, "DEVICE_GET_INFO failed.");
        if (!told.IsOk)
            return told.Error;
        var regions = new VfioRegionInfo[info.NumRegions];
        for (var index = 0; index < regions.Length; index++)
        {
            var region = new VfioRegionInfo((uint)VfioRegionInfo.WireSize, 0, (uint)index, 0, 0, 0);
            // EINVAL for what this device has not, such as VGA: a region of no bytes.
            if (KernelCall.Ioctl(file, DeviceIoctls.GetRegionInfo, ref region, "DEVICE_GET_REGION_INFO failed.").IsOk)
                regions[index] = region;
        }

        return new KernelDevice(file, vfio, space, info.Info, regions);
    }

    // ---- Regions ---------------------------------------------------------------------------------------------------------------------

    /// <summary>Bytes; 0 where there is no such region.</summary>
    public ulong SizeOf(int region) => region < regions.Length ? regions[region].Size : 0;

    public RegionFlags FlagsOf(int region) => region < regions.Length ? regions[region].Flags : RegionFlags.None;

    /// <summary>Its capabilities, asked for anew with as much room as they take.</summary>
    public VfioResult<ImmutableArray<InfoCapability>> CapabilitiesOf(int region)
    {
        if (region >= regions.Length)
            return NoRegion;
        var head = new VfioRegionInfo((uint)VfioRegionInfo.WireSize, 0, (uint)region, 0, 0, 0);
        var asked = KernelCall.Ioctl(file, DeviceIoctls.GetRegionInfo, ref head, "DEVICE_GET_REGION_INFO failed.");
        if (!asked.IsOk)
            return asked.Error;
        var buffer = new byte[head.Argsz];
        new VfioRegionInfo(head.Argsz, 0, (uint)region, 0, 0, 0).Encode(buffer);
        asked = KernelCall.Ioctl(file, DeviceIoctls.GetRegionInfo, buffer, "DEVICE_GET_REGION_INFO failed.");
        return asked.IsOk ? VfioRegionInfo.DecodeCapabilities(buffer) : asked.Error;
    }

    /// <summary>pread(2). Errors: EINVAL outside of the region, EIO where it does not answer.</summary>
    public unsafe VfioResult<int> Read(int region, ulong offset, Span<byte> destination)
    {
        if (Where(region, offset, destination.Length) is not { } at)
            return Outside;
        fixed (byte* bytes = destination)
        {
            var moved = Libc.ReadAt(file, bytes, (nuint)destination.Length, at);
            return moved >= 0 ? (int)moved : KernelCall.Failure("pread(2) of the device failed.");
        }
    }

    /// <summary>pwrite(2). Errors: EINVAL outside of the region, EIO where it does not answer.</summary>
    public unsafe VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        if (Where(region, offset, source.Length) is not { } at)
            return Outside;
        fixed (byte* bytes = source)
        {
            var moved = Libc.WriteAt(file, bytes, (nuint)source.Length, at);
            return moved >= 0 ? (int)moved : KernelCall.Failure("pwrite(2) of the device failed.");
        }
    }

    /// <summary>
    /// mmap(2) of a whole region. Touched while the function's memory is off it ends the process with SIGBUS. Errors: EINVAL it cannot be mapped;
    /// ENOMEM.
    /// </summary>
    internal VfioResult<FileMapping> Map(int region)
    {
        if ((FlagsOf(region) & RegionFlags.Mmap) == 0)
            return new VfioError(Errno.EINVAL, "The region cannot be mapped: its flags say so.");
        var length = (regions[region].Size + PageBytes - 1) & ~(ulong)(PageBytes - 1);
        return FileMapping.Create(file, regions[region].Offset, length, Libc.ProtectRead | Libc.ProtectWrite) is { } mapping
            ? mapping
            : KernelCall.Failure("mmap(2) of the device failed.");
    }

    // ---- Interrupts ------------------------------------------------------------------------------------------------------------------

    /// <summary>GET_IRQ_INFO. Errors: EINVAL for an index that it has not.</summary>
    public VfioResult<IrqInfo> GetIrqInfo(IrqIndex index)
    {
        var info = new VfioIrqInfo((uint)VfioIrqInfo.WireSize, 0, (uint)index, 0);
        var told = KernelCall.Ioctl(file, DeviceIoctls.GetIrqInfo, ref info, "DEVICE_GET_IRQ_INFO failed.");
        return told.IsOk ? info.Info : told.Error;
    }

    /// <summary>
    /// SET_IRQS. The value is 0, or how many vectors are to be had where those are fewer than asked for; then nothing was done. Errors: those of
    /// the matrix (contract §2.5).
    /// </summary>
    public VfioResult<int> SetIrqs(SetIrqs request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var buffer = new byte[VfioIrqSet.SizeOf(request)];
        var encoded = VfioIrqSet.Encode(request, buffer);
        return encoded.IsOk ? KernelCall.Ioctl(file, DeviceIoctls.SetIrqs, buffer, "DEVICE_SET_IRQS failed.") : encoded.Error;
    }

    /// <summary>SET_IRQS with an eventfd for one vector; null detaches it.</summary>
    internal VfioResult<int> SetTrigger(IrqIndex index, int vector, EventFd? eventfd) => SetIrqs(new SetIrqs(
        (uint)index, (uint)vector, 1, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger,
        Events: new[] { new EventRef(eventfd?.Number ?? -1, eventfd) }));

    /// <summary>SET_IRQS that frees all vectors of an index.</summary>
    public VfioResult<int> DisableIrqs(IrqIndex index) =>
        SetIrqs(new SetIrqs((uint)index, 0, 0, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger));

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    /// <summary>DEVICE_RESET. Errors: EINVAL the kernel has no reset for it, EAGAIN under contention.</summary>
    public VfioResult Reset()
    {
        var reset = KernelCall.Ioctl(file, DeviceIoctls.Reset, 0, "DEVICE_RESET failed: EINVAL is a function without a reset of its own.");
        return reset.IsOk ? VfioResult.Ok : reset.Error;
    }

    /// <summary>GET_PCI_HOT_RESET_INFO. Errors: ENODEV neither slot nor bus can be reset; EPERM.</summary>
    public VfioResult<ImmutableArray<VfioPciDependentDevice>> GetHotResetInfo()
    {
        // One bus has 256 functions; more buses below it ask again.
        for (var room = 256; ; room *= 4)
        {
            var buffer = new byte[VfioPciHotResetInfo.WireSize + (room * VfioPciDependentDevice.WireSize)];
            new VfioPciHotResetInfo((uint)buffer.Length, 0, 0).Encode(buffer);
            var told = KernelCall.Ioctl(
                file, DeviceIoctls.GetPciHotResetInfo, buffer, "GET_PCI_HOT_RESET_INFO failed: ENODEV has neither slot nor bus to reset.");
            if (told.IsOk)
            {
                return VfioPciHotResetInfo.TryRead(buffer, out var head) && head.TryDevices(buffer, out var devices)
                    ? ImmutableArray.Create(devices)
                    : new VfioError(Errno.EIO, "GET_PCI_HOT_RESET_INFO: the answer is shorter than its count says.");
            }

            if (told.Error.Errno != Errno.ENOSPC || room > ushort.MaxValue)
                return told.Error;
        }
    }

    /// <summary>
    /// PCI_HOT_RESET of slot or bus: allowed where every function in it is open here (LC-51, LC-54), which is shown by their groups, or by this
    /// process's iommufd. Errors: EINVAL some are not; EBUSY, EAGAIN.
    /// </summary>
    /// <param name="all">The devices that are open here, of every group in the scope.</param>
    public VfioResult HotReset(IEnumerable<KernelDevice> all)
    {
        ArgumentNullException.ThrowIfNull(all);
        int[] groups =
            [.. all.Select(static device => device.space).OfType<ContainerSpace>().Distinct().Select(static group => group.GroupDescriptor)];
        var buffer = new byte[VfioPciHotReset.WireSize + (groups.Length * sizeof(int))];
        new VfioPciHotReset((uint)buffer.Length, 0, (uint)groups.Length).Encode(buffer);
        for (var index = 0; index < groups.Length; index++)
            Unsafe.WriteUnaligned(ref buffer[VfioPciHotReset.WireSize + (index * sizeof(int))], groups[index]);
        var reset = KernelCall.Ioctl(
            file, DeviceIoctls.PciHotReset, buffer, "PCI_HOT_RESET failed: EINVAL asks for every function of the slot or bus to be held here.");
        return reset.IsOk ? VfioResult.Ok : reset.Error;
    }

    // ---- Features --------------------------------------------------------------------------------------------------------------------

    /// <summary>FEATURE with PROBE. Errors: ENOTTY it has none such; EINVAL not by this operation.</summary>
    public VfioResult Probe(DeviceFeature feature, FeatureOps operation)
    {
        var head = VfioDeviceFeature.Of(feature, operation | FeatureOps.Probe, 0);
        var probed = KernelCall.Ioctl(file, DeviceIoctls.Feature, ref head, "DEVICE_FEATURE: the device does not have it.");
        return probed.IsOk ? VfioResult.Ok : probed.Error;
    }

    /// <summary>FEATURE with GET. Errors: ENOTTY it has none such; the feature's.</summary>
    public VfioResult<T> Get<T>(T asked = default) where T : unmanaged, IFeaturePayload<T> => Use(asked, FeatureOps.Get);

    /// <summary>FEATURE with SET; what the kernel answers in the payload comes back. Errors: ENOTTY it has none such; the feature's.</summary>
    public VfioResult<T> Set<T>(T payload) where T : unmanaged, IFeaturePayload<T> => Use(payload, FeatureOps.Set);

    public void Dispose()
    {
        if (Interlocked.Exchange(ref isClosed, true))
            return;
        file.Dispose();
        vfio.Leave(space);
    }

    private VfioResult<T> Use<T>(T payload, FeatureOps operation) where T : unmanaged, IFeaturePayload<T>
    {
        Span<byte> buffer = stackalloc byte[VfioDeviceFeature.WireSize + Unsafe.SizeOf<T>()];
        var encoded = payload.EncodeRequest(buffer, operation);
        if (!encoded.IsOk)
            return encoded.Error;
        var used = KernelCall.Ioctl(file, DeviceIoctls.Feature, buffer, "DEVICE_FEATURE failed: ENOTTY is a feature that the device does not have.");
        return used.IsOk ? FeatureCodec.DecodePayload<T>(buffer) : used.Error;
    }

    private long? Where(int region, ulong offset, int length) =>
        region >= 0 && region < regions.Length && offset <= regions[region].Size && (ulong)length <= regions[region].Size - offset && !file.IsClosed
            ? (long)(regions[region].Offset + offset)
            : null;

    private static VfioError Outside => new(Errno.EINVAL, "The access lies outside of the region, or the device is closed.");

    private static VfioError NoRegion => new(Errno.EINVAL, "There is no region of this index.");
}
