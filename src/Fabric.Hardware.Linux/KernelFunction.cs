using System.Globalization;
using System.Runtime.InteropServices;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux;

/// <summary>
/// A real function: what the port asks is done through the kernel's vfio-pci, whose open device this is. The kernel shows config space virtualised,
/// saves and restores it around its resets, and lets nobody reach what it protects; the core above does the same once more, and is none the wiser.
/// </summary>
internal sealed class KernelFunction : IPciFunction, IDisposable
{
    public const string VfioDriver = "vfio-pci";

    private const int AerUncorrectableStatus = 0x04;
    private const int AerHeaderLogOffset = 0x1c;
    private const int ExtendedSpace = 0x100;
    private const ushort AerCapability = 0x0001;

    private readonly LinuxPciBus bus;
    private readonly KernelDevice device;
    private readonly KernelInterrupts interrupts;
    private readonly KernelDma dma;
    private readonly string folder;
    private readonly AerCounters counters;
    private IDisposable? errors;
    private IDisposable? requests;

    public KernelFunction(LinuxPciBus bus, LinuxPciFunction seen, KernelDevice device, EventWatch watch, string folder)
    {
        (this.bus, this.device, this.folder) = (bus, device, folder);
        Address = seen.Address;
        Ids = seen.Ids;
        IommuGroup = seen.IommuGroup;
        PhysicalFunction = seen.PhysicalFunction;
        Traits = FunctionTraits.Physical | (seen.PhysicalFunction is null ? FunctionTraits.None : FunctionTraits.VirtualFunction);
        ResetMethods = seen.ResetMethods;
        Bars = [.. Enumerable.Range(0, 6).Select(bar => BarOf(seen, bar))];
        interrupts = new KernelInterrupts(device, watch);
        dma = new KernelDma(device.Space);
        counters = new AerCounters(folder);
        counters.Advance();
    }

    public PciAddress Address { get; }

    public PciIds Ids { get; }

    public FunctionTraits Traits { get; }

    public PciAddress? PhysicalFunction { get; }

    public int? IommuGroup { get; }

    public int ConfigSize => (int)device.SizeOf(RegionIndex.Config);

    public IReadOnlyList<PciBar> Bars { get; }

    public PciRom Rom => new(device.SizeOf(RegionIndex.Rom), device.SizeOf(RegionIndex.Rom), 0);

    public IReadOnlyList<string> ResetMethods { get; }

    public IFunctionInterrupts Interrupts => interrupts;

    /// <summary>
    /// The core alone: what drivers reach beside a function (the PF's driver, firmware) is not there of real ones, so only a person chooses one.
    /// </summary>
    public string? WantedDriver => VfioDriver;

    public IReadOnlyList<FunctionFact> Facts => FunctionFacts.Read(new FunctionFolder(folder), Ids, bus.Names);

    /// <summary>For a hot reset of its slot or bus.</summary>
    public KernelDevice Device => device;

    /// <summary>The kernel waits for it to be let go: sysfs unbind or remove, unplug, or its VFs being taken away.</summary>
    public bool IsWantedBack { get; private set; }

    /// <summary>
    /// Hears of ERR and REQ from now on, from the hardware's thread. Some functions have no ERR: a kernel before 7 asks for a PCIe capability.
    /// </summary>
    public void ReportTo(Action<BusEvent> sink)
    {
        var error = interrupts.Listen(IrqIndex.Err, new Told(() => sink(new AerReported(Error()))));
        errors = error.IsOk ? error.Value : null;
        var request = interrupts.Listen(IrqIndex.Req, new Told(() =>
        {
            IsWantedBack = true;
            sink(new RemovalRequested(Address));
        }));
        requests = request.IsOk ? request.Value : null;
    }

    // ---- Config space and regions ----------------------------------------------------------------------------------------------------

    /// <summary>All ones where the function does not answer, as a bus reads.</summary>
    public void ReadConfig(int offset, Span<byte> destination)
    {
        var read = device.Read(RegionIndex.Config, (ulong)offset, destination);
        if (read is not { IsOk: true } || read.Value != destination.Length)
            destination.Fill(0xff);
    }

    /// <summary>What does not answer takes no write either, as on a bus: posted, and lost.</summary>
    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => _ = device.Write(RegionIndex.Config, (ulong)offset, source);

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        var read = device.Read(region, offset, destination);
        return read.IsOk && read.Value == destination.Length ? VfioResult.Ok : NoAnswer;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        var written = device.Write(region, offset, source);
        return written.IsOk && written.Value == source.Length ? VfioResult.Ok : NoAnswer;
    }

    // ---- Resets, DMA, VFs ------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// The kernel tries its methods in their order, so a method that is not its first is made the only one meanwhile (sysfs: reset_method).
    /// </summary>
    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "The function has no such reset.");
        if ((device.Info.Flags & DeviceFlags.Reset) == 0)
            return VfioResult.Fail(Errno.ENOTTY, "The kernel has no reset for this function.");
        if (ResetMethods[0] == method)
            return Outcome(device.Reset());
        try
        {
            Write("reset_method", method);
            try
            {
                return Outcome(device.Reset());
            }
            finally
            {
                Write("reset_method", string.Join(' ', ResetMethods));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return VfioResult.Fail(Errno.EIO, "The kernel does not take this reset method for the function (sysfs: reset_method).");
        }
    }

    public void ConnectDma(IDmaSpace? space) => dma.Connect(space);

    /// <summary>VFs that go are closed first, or the kernel would wait for that; those that come are open when this returns.</summary>
    public VfioResult SetVirtualFunctions(int count)
    {
        if (count == 0)
            bus.CloseVirtualFunctionsOf(Address);
        try
        {
            Write("sriov_numvfs", count.ToString(CultureInfo.InvariantCulture));
            bus.OpenVirtualFunctionsOf(Address);
            return VfioResult.Ok;
        }
        catch (FileNotFoundException)
        {
            return VfioResult.Fail(Errno.ENOTTY, "This function has no SR-IOV capability.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return VfioResult.Fail(
                Errno.EIO, "The kernel does not change the number of VFs: vfio-pci asks for enable_sriov=1, and VFs that are there go first.");
        }
    }

    public void Dispose()
    {
        errors?.Dispose();
        requests?.Dispose();
        interrupts.Dispose();
        device.Dispose();
    }

    private PciBar BarOf(LinuxPciFunction seen, int bar)
    {
        var size = device.SizeOf(bar);
        var kind = seen.Bars.FirstOrDefault(candidate => candidate.Index == bar);
        if (size == 0 || kind.Size == 0)
            return PciBar.None;
        return new PciBar(
            kind.IsIo ? BarKind.Io : kind.Is64Bit ? BarKind.Memory64 : BarKind.Memory32,
            size,
            kind.IsPrefetchable,
            SharesPage: !kind.IsIo && size < 4096 && (device.FlagsOf(bar) & RegionFlags.Mmap) == 0);
    }

    /// <summary>Who reports it has counted it already; what its registers say still is told with it.</summary>
    private AerRecord Error()
    {
        var severity = counters.Advance();
        Span<byte> dwords = stackalloc byte[16];
        for (int at = ExtendedSpace, left = 64; at >= ExtendedSpace && at + 4 <= ConfigSize && left > 0; left--)
        {
            var head = ReadDword(at);
            if ((ushort)head == AerCapability)
            {
                ReadConfig(at + AerHeaderLogOffset, dwords);
                var log = MemoryMarshal.Cast<byte, uint>(dwords);
                return new AerRecord(
                    Address, severity, ReadDword(at + AerUncorrectableStatus), new AerHeaderLog(log[0], log[1], log[2], log[3]));
            }

            at = (int)(head >> 20) & ~3;
        }

        return new AerRecord(Address, severity, 0);
    }

    private uint ReadDword(int offset)
    {
        Span<byte> dword = stackalloc byte[4];
        ReadConfig(offset, dword);
        return BitConverter.ToUInt32(dword);
    }

    private void Write(string attribute, string text) => Sysfs.Write(Path.Combine(folder, attribute), text);

    private static VfioResult Outcome(VfioResult reset) => reset.Error.Errno switch
    {
        Errno.None or Errno.EAGAIN or Errno.ENOTTY or Errno.ETIMEDOUT => reset,
        _ => VfioResult.Fail(Errno.EIO, "The kernel's reset of the function failed; its log says why."),
    };

    private static VfioResult NoAnswer => VfioResult.Fail(Errno.EIO, "The function does not answer.");

    private sealed class Told(Action happened) : IEventTarget
    {
        public void Signal() => happened();
    }
}
