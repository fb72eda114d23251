using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>
/// The vfio-pci core of one function: synchronous, deterministic, no thread, no clock. One caller at a time. It opens and closes the
/// device, answers its uAPI, and knows nothing of migration: that is a variant driver's (contract §11.4).
/// </summary>
public sealed class VfioPciCore
{
    private readonly IPciFunction function;
    private readonly DmaMap dma = new();
    private readonly IEventTarget?[] triggers = new IEventTarget?[2];
    private VirtualConfig? config;
    private MappingLife mappings = new();

    /// <summary>Registers the function with the core (LC-3). Errors: EINVAL for a header that is not type 0.</summary>
    public static VfioResult<VfioPciCore> Register(IPciFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        Span<byte> headerType = stackalloc byte[1];
        function.ReadConfig(ConfigOffset.HeaderType, headerType);
        if ((headerType[0] & 0x7f) != 0)
            return new VfioError(Errno.EINVAL, "Only type-0 functions can be handed out; this one is a bridge.");
        return new VfioPciCore(function);
    }

    private VfioPciCore(IPciFunction function) => this.function = function;

    public bool IsOpen => config is not null;

    /// <summary>Whether the last function reset worked (LC-21); decides the RESET flag and IO-50.</summary>
    public bool ResetWorks { get; private set; }

    /// <summary>Closed without a reset having worked (LC-31).</summary>
    public bool NeedsReset { get; private set; }

    public int DmaMappings => dma.Count;

    /// <summary>
    /// First open (LC-20): bus-master off, function reset, memory decode on, config shadow, DMA connected. Errors: EBUSY when open,
    /// EAGAIN (LC-21).
    /// </summary>
    public VfioResult Open()
    {
        if (IsOpen)
            return VfioResult.Fail(Errno.EBUSY, "The device is open already.");
        ChangeCommand(clear: PciCommand.BusMaster);
        var reset = function.Reset();
        if (reset.Error.Errno == Errno.EAGAIN)
            return reset;
        ResetWorks = reset.IsOk;
        NeedsReset = false;
        if (!function.IsVirtualFunction)
            ChangeCommand(set: PciCommand.MemorySpace);                                  // LC-24; a VF has no such bit (CF-13)
        config = new VirtualConfig(function);
        mappings = new MappingLife();
        function.ConnectDma(dma);
        return VfioResult.Ok;
    }

    /// <summary>Last close (LC-30, LC-31): everything of the session is undone, the function is reset.</summary>
    public void Close()
    {
        if (!IsOpen)
            return;
        ChangeCommand(clear: PciCommand.BusMaster);
        function.ConnectDma(null);
        dma.Clear();
        mappings.End();
        config = null;
        ChangeCommand(clear: PciCommand.MemorySpace | PciCommand.IoSpace);
        NeedsReset = !(ResetWorks && function.Reset().IsOk);
        Array.Clear(triggers);
    }

    /// <summary>GET_INFO (IO-10).</summary>
    public VfioResult<DeviceInfo> GetInfo() => IsOpen
        ? new DeviceInfo(DeviceFlags.Pci | (ResetWorks ? DeviceFlags.Reset : 0), RegionIndex.Count, Irqs: 5)
        : NotOpen;

    /// <summary>GET_REGION_INFO (IO-20). Errors: EINVAL for an index out of range and for VGA.</summary>
    public VfioResult<RegionInfo> GetRegionInfo(int index)
    {
        if (!IsOpen)
            return NotOpen;
        return index switch
        {
            >= RegionIndex.Bar0 and <= RegionIndex.Bar5 when function.Bars[index].Size == 0 => new RegionInfo(index, RegionFlags.None, 0),
            >= RegionIndex.Bar0 and <= RegionIndex.Bar5 =>
                new RegionInfo(index, RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap, function.Bars[index].Size),
            RegionIndex.Rom => new RegionInfo(index, RegionFlags.None, 0),
            RegionIndex.Config => new RegionInfo(index, RegionFlags.Read | RegionFlags.Write, (ulong)function.ConfigSize),
            _ => new VfioError(Errno.EINVAL, "There is no region of this index; GET_INFO tells how many there are."),
        };
    }

    /// <summary>GET_IRQ_INFO (IO-30). The functions behind this core have neither INTx nor MSI yet: their counts are 0.</summary>
    public VfioResult<IrqInfo> GetIrqInfo(int index)
    {
        if (!IsOpen)
            return NotOpen;
        return (IrqIndex)index switch
        {
            IrqIndex.Intx => new IrqInfo(IrqIndex.Intx, IrqFlags.Eventfd | IrqFlags.Maskable | IrqFlags.AutoMasked, 0),
            IrqIndex.Msi => new IrqInfo(IrqIndex.Msi, IrqFlags.Eventfd | IrqFlags.NoResize, 0),
            IrqIndex.Msix => new IrqInfo(IrqIndex.Msix, IrqFlags.Eventfd | IrqFlags.NoResize, 0),
            IrqIndex.Err => new IrqInfo(IrqIndex.Err, IrqFlags.Eventfd | IrqFlags.NoResize, 1),
            IrqIndex.Req => new IrqInfo(IrqIndex.Req, IrqFlags.Eventfd | IrqFlags.NoResize, 1),
            _ => new VfioError(Errno.EINVAL, "There is no interrupt of this index; GET_INFO tells how many there are."),
        };
    }

    /// <summary>
    /// SET_IRQS with ACTION_TRIGGER and DATA_EVENTFD of one vector (IO-40, IO-41): registers or (null) clears the target of ERR or REQ.
    /// Errors: EINVAL for an index without interrupts.
    /// </summary>
    public VfioResult SetTrigger(IrqIndex index, IEventTarget? target)
    {
        if (!IsOpen)
            return NotOpen;
        if (index is not (IrqIndex.Err or IrqIndex.Req))
            return VfioResult.Fail(Errno.EINVAL, "This interrupt index has no vectors; GET_IRQ_INFO tells its count.");
        triggers[index - IrqIndex.Err] = target;
        return VfioResult.Ok;
    }

    /// <summary>
    /// RESET (IO-50): COMMAND is after it what it was before (IO-51). Errors: EINVAL where no reset works, EAGAIN under contention (the
    /// caller retries).
    /// </summary>
    public VfioResult Reset()
    {
        if (!IsOpen)
            return NotOpen;
        if (!ResetWorks)
            return VfioResult.Fail(Errno.EINVAL, "No reset of this device works; GET_INFO shows it without the RESET flag.");
        Span<byte> command = stackalloc byte[2];
        function.ReadConfig(ConfigOffset.Command, command);
        var reset = function.Reset();
        if (reset.IsOk)
            function.WriteConfig(ConfigOffset.Command, command);
        return reset;
    }

    /// <summary>read(2) on the device (IO-110, IO-111). Returns the bytes read, fewer at the end of a region.</summary>
    public VfioResult<int> Read(int region, ulong offset, Span<byte> destination)
    {
        if (config is null)
            return NotOpen;
        if (destination.IsEmpty)
            return 0;
        if (region == RegionIndex.Config)
            return config.Read(offset, destination);
        if (CheckBar(region, offset) is { Errno: not Errno.None } refused)
            return refused;
        var within = Truncate(region, offset, destination.Length);
        var read = function.ReadRegion(region, offset, destination[..within]);
        return read.IsOk ? within : read.Error;
    }

    /// <summary>write(2) on the device (IO-110, IO-111). Returns the bytes written, fewer at the end of a region.</summary>
    public VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        if (config is null)
            return NotOpen;
        if (source.IsEmpty)
            return 0;
        if (region == RegionIndex.Config)
            return config.Write(offset, source);
        if (CheckBar(region, offset) is { Errno: not Errno.None } refused)
            return refused;
        var within = Truncate(region, offset, source.Length);
        var written = function.WriteRegion(region, offset, source[..within]);
        return written.IsOk ? within : written.Error;
    }

    /// <summary>mmap(2) of a whole BAR (IO-114). Errors: EINVAL for anything but a BAR.</summary>
    public VfioResult<RegionMapping> Map(int region)
    {
        if (!IsOpen)
            return NotOpen;
        if (region is < RegionIndex.Bar0 or > RegionIndex.Bar5 || function.Bars[region].Size == 0)
            return new VfioError(Errno.EINVAL, "Only a BAR can be mapped; GET_REGION_INFO shows which have the MMAP flag.");
        return new RegionMapping(function, region, mappings);
    }

    /// <summary>Maps holder memory for DMA; errors of <see cref="DmaMap.Map"/>.</summary>
    public VfioResult MapDma(ulong iova, IDmaMemory memory) => IsOpen ? dma.Map(iova, memory) : NotOpen;

    /// <summary>Unmaps; errors of <see cref="DmaMap.Unmap"/>.</summary>
    public VfioResult UnmapDma(ulong iova) => IsOpen ? dma.Unmap(iova) : NotOpen;

    /// <summary>error_detected in any channel state: the ERR trigger is signalled, the vote is CAN_RECOVER always (ER-1).</summary>
    public RecoveryVote ErrorDetected()
    {
        triggers[0]?.Signal();
        return RecoveryVote.CanRecover;
    }

    /// <summary>request(n) while something waits for the device to be released (LC-34): REQ is signalled on every call. False: nobody listens.</summary>
    public bool Request()
    {
        triggers[1]?.Signal();
        return triggers[1] is not null;
    }

    private static VfioError NotOpen => new(Errno.EINVAL, "The device is not open; open it first.");

    private VfioError CheckBar(int region, ulong offset)
    {
        if (region is < RegionIndex.Bar0 or > RegionIndex.Vga)
            return new VfioError(Errno.EINVAL, "There is no region of this index.");
        if (region > RegionIndex.Bar5 || offset >= function.Bars[region].Size)
            return new VfioError(Errno.EINVAL, "The region is not there, or the offset lies past its end; look at GET_REGION_INFO.");
        if (!config!.MemoryEnabled)
            return new VfioError(Errno.EIO, "Memory decode is off; set the memory bit of COMMAND first.");      // IO-112
        return default;
    }

    private int Truncate(int region, ulong offset, int length) => (int)Math.Min((ulong)length, function.Bars[region].Size - offset);

    private void ChangeCommand(PciCommand set = PciCommand.None, PciCommand clear = PciCommand.None)
    {
        Span<byte> command = stackalloc byte[1];
        function.ReadConfig(ConfigOffset.Command, command);
        command[0] = (byte)((command[0] | (byte)set) & ~(byte)clear);
        function.WriteConfig(ConfigOffset.Command, command);
    }
}
