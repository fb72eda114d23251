using Fabric.Pci;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>The uAPI of the open device (contract §2). Every request takes the device out of low power while it lasts (LC-61).</summary>
public sealed partial class VfioPciCore
{
    /// <summary>GET_INFO (IO-10).</summary>
    public VfioResult<DeviceInfo> GetInfo()
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        var flags = DeviceFlags.Pci | (ResetWorks ? DeviceFlags.Reset : 0) | (function.Atomics != AtomicCompletion.None ? DeviceFlags.Caps : 0);
        return new DeviceInfo(flags, RegionIndex.Count + session!.DeviceRegions.Length, Irqs: 5, function.Atomics);
    }

    /// <summary>GET_REGION_INFO (IO-20). Errors: EINVAL for an index out of range, and for VGA where there is none.</summary>
    public VfioResult<RegionInfo> GetRegionInfo(int index)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        var open = session!;
        return index switch
        {
            >= RegionIndex.Bar0 and <= RegionIndex.Bar5 => DescribeBar(open.Regions, index),
            RegionIndex.Rom => new RegionInfo(index, open.Regions.RomBytes == 0 ? RegionFlags.None : RegionFlags.Read, open.Regions.RomBytes),
            RegionIndex.Config => new RegionInfo(index, RegionFlags.Read | RegionFlags.Write, (ulong)function.ConfigSize),
            RegionIndex.Vga when open.Regions.HasVga => new RegionInfo(index, RegionFlags.Read | RegionFlags.Write, RegionAccess.VgaBytes),
            >= RegionIndex.Count when index - RegionIndex.Count < open.DeviceRegions.Length => open.DeviceRegions[index - RegionIndex.Count].Info,
            _ => NoRegion,
        };
    }

    private static RegionInfo DescribeBar(RegionAccess regions, int bar)
    {
        if (regions.BarBytes(bar) == 0)
            return new RegionInfo(bar, RegionFlags.None, 0);
        var flags = RegionFlags.Read | RegionFlags.Write;
        if (!regions.IsMappable(bar))
            return new RegionInfo(bar, flags, regions.BarBytes(bar));
        return new RegionInfo(bar, flags | RegionFlags.Mmap, regions.BarBytes(bar), regions.Msix.IsIn(bar) ? RegionInfo.MsixMappable : default);
    }

    /// <summary>GET_IRQ_INFO (IO-30). Errors: EINVAL.</summary>
    public VfioResult<IrqInfo> GetIrqInfo(int index)
    {
        using var use = BeginUse();
        return use.Refused.Errno != Errno.None ? use.Refused : session!.Interrupts.GetInfo(index);
    }

    /// <summary>SET_IRQS (contract §2.5). Errors: those of the interrupts.</summary>
    public SetIrqsResult SetIrqs(SetIrqs request)
    {
        ArgumentNullException.ThrowIfNull(request);
        using var use = BeginUse();
        return use.Refused.Errno != Errno.None ? use.Refused : session!.Interrupts.Set(request);
    }

    /// <summary>
    /// SET_IRQS with ACTION_TRIGGER and DATA_EVENTFD of one vector (IO-40, IO-41): registers or (null) clears the target of ERR or REQ.
    /// Errors: EINVAL for an index without interrupts.
    /// </summary>
    public VfioResult SetTrigger(IrqIndex index, IEventTarget? target) => SetIrqs(new SetIrqs(
        (uint)(int)index, 0, 1, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: new[] { target is null ? EventRef.None : EventRef.Of(target) })).Error;

    /// <summary>read(2) on the device (IO-110, IO-111). Returns the bytes read, fewer at the end of a region. Errors: EINVAL, EIO, EFAULT.</summary>
    public VfioResult<int> Read(int region, ulong offset, Span<byte> destination)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        var open = session!;
        if (region < 0 || region >= RegionIndex.Count + open.DeviceRegions.Length)
            return NoRegion;
        if (destination.IsEmpty)
            return 0;
        return region switch
        {
            RegionIndex.Config => open.Config.Read(offset, destination),
            >= RegionIndex.Count => open.DeviceRegions[region - RegionIndex.Count].Region.Read(offset, destination),
            _ => open.Regions.Read(region, offset, destination),
        };
    }

    /// <summary>write(2) on the device (IO-110, IO-111). Returns the bytes written, fewer at the end of a region. Errors: EINVAL, EIO, EFAULT.</summary>
    public VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        var open = session!;
        if (region < 0 || region >= RegionIndex.Count + open.DeviceRegions.Length)
            return NoRegion;
        if (source.IsEmpty)
            return 0;
        return region switch
        {
            RegionIndex.Config => open.Config.Write(offset, source),
            >= RegionIndex.Count => open.DeviceRegions[region - RegionIndex.Count].Region.Write(offset, source),
            _ => open.Regions.Write(region, offset, source),
        };
    }

    /// <summary>
    /// Whether a write may take as long as a reset or a change of power state does: capabilities have registers that set those off (CF-30,
    /// CF-31, CF-33, CF-35).
    /// </summary>
    public static bool IsSlowWrite(int region, ulong offset, int length) =>
        region == RegionIndex.Config && offset + (ulong)length > ConfigOffset.HeaderSize;

    /// <summary>mmap(2) of a whole BAR (IO-114). Errors: EINVAL for anything but a BAR that can be mapped, and what its claim failed with.</summary>
    public VfioResult<RegionMapping> Map(int region, MapOptions options = MapOptions.None) => Map(region, 0, null, options);

    /// <summary>
    /// mmap(2) of a part of a BAR, offset and length in bytes (IO-114). Errors: EINVAL for a private mapping, anything but a BAR that can be
    /// mapped, and past its last page; what its claim failed with (LC-22).
    /// </summary>
    public VfioResult<RegionMapping> Map(int region, ulong offset, ulong length, MapOptions options = MapOptions.None) =>
        Map(region, offset, (ulong?)length, options);

    private VfioResult<RegionMapping> Map(int region, ulong offset, ulong? length, MapOptions options)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        var (gate, regions) = (session!.Gate, session.Regions);
        if ((options & MapOptions.Private) != 0)
            return new VfioError(Errno.EINVAL, "Device memory cannot be mapped privately; map it shared.");
        if (region is < RegionIndex.Bar0 or > RegionIndex.Bar5 || !(regions.IsMappable(region) || IsDriversOwn(region, options)))
            return new VfioError(Errno.EINVAL, "Only a BAR can be mapped; GET_REGION_INFO shows which have the MMAP flag.");
        var bytes = regions.BarBytes(region);
        var pages = (bytes + RegionAccess.PageBytes - 1) & ~(RegionAccess.PageBytes - 1);
        var asked = length ?? bytes;
        if (asked == 0 || asked > pages || offset > pages - asked)
            return new VfioError(Errno.EINVAL, "The mapping runs past the last page of the BAR.");
        if (regions.ClaimOf(region) is { Errno: not Errno.None } unclaimed)
            return unclaimed;
        var there = offset < bytes ? Math.Min(asked, bytes - offset) : 0;
        return new RegionMapping(
            function, region, offset, there, gate, (options & MapOptions.DriverOwned) != 0 ? MemoryBlocks.Decode : MemoryBlocks.None);
    }

    /// <summary>A driver maps before the second phase of opening as well (LC-25), and BARs that no holder may map.</summary>
    private bool IsDriversOwn(int region, MapOptions options) => (options & MapOptions.DriverOwned) != 0 && bars[region].IsMemory;

    /// <summary>
    /// IOEVENTFD (IO-70): installs a BAR write that an event makes, or (null) removes it. Errors: EINVAL, ENODEV, EEXIST, ENOSPC, and what
    /// the BAR's claim failed with.
    /// </summary>
    public VfioResult SetIoEventFd(IoEvent write, IEventSource? source)
    {
        using var use = BeginUse();
        return use.Refused.Errno != Errno.None ? use.Refused : session!.IoEventFds.Set(write, source);
    }

    /// <summary>The same with a descriptor; -1 removes. Errors besides, and after all others: EBADF, EINVAL (IO-47).</summary>
    public VfioResult SetIoEventFd(IoEvent write, EventRef eventfd)
    {
        using var use = BeginUse();
        return use.Refused.Errno != Errno.None ? use.Refused : session!.IoEventFds.Set(write, eventfd);
    }

    /// <summary>Adds a driver's region at the next index (contract §2.3). Returns the index. Errors: EINVAL on a device that is not enabled.</summary>
    public VfioResult<int> AddRegion(IDeviceRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        if (session is not { } open)
            return NotOpen;
        var index = RegionIndex.Count + open.DeviceRegions.Length;
        open.DeviceRegions = open.DeviceRegions.Add(new DeviceRegion(index, region));
        return index;
    }

    // ---- Features (contract §2.9): what is the core's own ----------------------------------------------------------------------------

    /// <summary>
    /// What can be asked of a feature of the core's. Errors: EOPNOTSUPP for DMA_BUF where the driver has no physical provider, whatever is
    /// asked (IO-90); ENOTTY for every other feature that the device has not (IO-81).
    /// </summary>
    public VfioResult<FeatureOperations> FindFeature(CoreFeature feature) => feature switch
    {
        CoreFeature.VfToken when token is not null => FeatureOperations.Set,
        CoreFeature.LowPowerEntry or CoreFeature.LowPowerEntryWithWakeup or CoreFeature.LowPowerExit => FeatureOperations.Set,
        CoreFeature.DmaBuf when Driver.ProvidesDmaBufs => FeatureOperations.Get,
        CoreFeature.DmaBuf => new VfioError(Errno.EOPNOTSUPP, "The device's driver exports no DMA buffers."),
        _ => new VfioError(Errno.ENOTTY, "The device has no such feature."),
    };

    /// <summary>Feature VF_TOKEN (LC-40). Errors: ENOTTY unless the device is a PF with SR-IOV capability.</summary>
    public VfioResult SetVfToken(Guid value)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        if (FindFeature(CoreFeature.VfToken) is { IsOk: false } missing)
            return missing.Error;
        token!.Set(value);
        return VfioResult.Ok;
    }

    /// <summary>
    /// Features LOW_POWER_ENTRY and LOW_POWER_ENTRY_WITH_WAKEUP (LC-60, LC-62): the device sleeps when this request is done. Errors: EINVAL in
    /// low power already.
    /// </summary>
    /// <param name="wake">Signalled when the device wakes, whatever woke it; low power is over then.</param>
    public VfioResult EnterLowPower(IEventTarget? wake = null)
    {
        using var use = BeginUse();
        return use.Refused.Errno != Errno.None ? use.Refused : runtime.Engage(wake);
    }

    /// <summary>Feature LOW_POWER_EXIT (LC-62): nothing happens where it is over already, but that DMA buffers come back.</summary>
    public VfioResult ExitLowPower()
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        runtime.Disengage();
        RestoreDmaBufs(session!);
        return VfioResult.Ok;
    }

    /// <summary>Feature DMA_BUF (IO-90). Errors, in this order: EOPNOTSUPP, EINVAL, ENODEV, EINVAL, EOVERFLOW, ENODEV being unregistered.</summary>
    /// <param name="shown">What a driver shows in place of the BAR; null for the BAR.</param>
    public VfioResult<DmaBuf> GetDmaBuf(int region, uint flags, ReadOnlySpan<DmaBufRange> ranges, RegionMapping? shown = null) =>
        GetDmaBuf(region, flags, ranges, default, shown);

    /// <summary>The same for ranges that came from a caller's memory.</summary>
    /// <param name="fault">Why they could not be read: told once the region is known to be good. Then there is at least one range.</param>
    public VfioResult<DmaBuf> GetDmaBuf(
        int region, uint flags, ReadOnlySpan<DmaBufRange> ranges, VfioError fault, RegionMapping? shown = null)
    {
        using var use = BeginUse();
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        if (FindFeature(CoreFeature.DmaBuf) is { IsOk: false } missing)
            return missing.Error;
        var open = session!;
        return open.DmaBufs.Export(
            region, flags, ranges, fault, IsMemoryUsable && open.Gate.Blocks == MemoryBlocks.None, Registration != RegistrationState.Registered,
            shown);
    }

    // ---- DMA -------------------------------------------------------------------------------------------------------------------------

    /// <summary>Maps holder memory for DMA; errors of <see cref="DmaMap.Map"/>.</summary>
    public VfioResult MapDma(ulong iova, IDmaTarget memory, DmaAccess access = DmaAccess.ReadWrite) =>
        session is null ? NotOpen : dma!.Map(iova, memory, access);

    /// <summary>Unmaps; errors of <see cref="DmaMap.Unmap"/>.</summary>
    public VfioResult UnmapDma(ulong iova) => session is null ? NotOpen : dma!.Unmap(iova);

    /// <summary>
    /// Puts the device's DMA behind an address space that it may share with others, or (null) behind its own again; a close ends that. Errors:
    /// EINVAL on a device that is not open.
    /// </summary>
    public VfioResult AttachDma(IDmaSpace? space)
    {
        if (session is null)
            return NotOpen;
        function.ConnectDma(space ?? dma);
        return VfioResult.Ok;
    }

    // ---- One use of the device -------------------------------------------------------------------------------------------------------

    /// <summary>Keeps the device awake for one request (IO-2). Refuses with EINVAL where it is not open, EIO where it does not wake.</summary>
    private Use BeginUse()
    {
        if (session is null)
            return new Use(null, NotOpen);
        return runtime.TryGet() ? new Use(runtime, default) : new Use(null, new VfioError(Errno.EIO, "The device does not wake from low power."));
    }

    private readonly ref struct Use(RuntimePower? awake, VfioError refused)
    {
        public VfioError Refused { get; } = refused;

        public void Dispose() => awake?.Put();
    }

    private static VfioError NoRegion => new(Errno.EINVAL, "There is no region of this index; GET_INFO tells how many there are.");
}
