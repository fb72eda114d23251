using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>What an emulated host has.</summary>
/// <param name="Accelerators">Cards, each a physical function on a port of its own; at most 16.</param>
/// <param name="FunctionsPerAccelerator">Virtual functions of each card; at most 7.</param>
/// <param name="StateBytes">Device state of each virtual function, bytes.</param>
public sealed record EmulatedBusOptions(int Accelerators, int FunctionsPerAccelerator, long StateBytes);

/// <summary>A host's PCI functions in software. Domain 0xfab0, out of the way of real ones.</summary>
public sealed class EmulatedBus : IPciBus, IFaultInjection, IDisposable
{
    /// <summary>Real hosts number their domains from 0; an emulated function is told from a real one by its address already.</summary>
    public const ushort Domain = 0xfab0;

    private readonly List<IPciFunction> functions = [];
    private Action<BusEvent>? events;

    public EmulatedBus(EmulatedBusOptions options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Accelerators, 16);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.FunctionsPerAccelerator, 7);
        for (var card = 0; card < options.Accelerators; card++)
        {
            var bus = (byte)(card + 1);
            functions.Add(new AcceleratorPhysicalFunction(new PciAddress(Domain, bus, 0, 0)));
            for (var function = 1; function <= options.FunctionsPerAccelerator; function++)
                functions.Add(new AcceleratorVirtualFunction(new PciAddress(Domain, bus, 0, (byte)function), options.StateBytes, time));
        }
    }

    public IReadOnlyList<IPciFunction> Functions => functions;

    /// <summary>Each card stands alone under its port: its scope is its bus.</summary>
    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) =>
        [.. functions.Where(function => function.Address.Bus == source.Bus).Select(function => function.Address)];

    public VfioResult ResetLink(PciAddress source)
    {
        foreach (var function in functions.Where(function => function.Address.Bus == source.Bus))
        {
            if (function.Reset(function.ResetMethods[^1]) is { IsOk: false } failed)
                return failed;
        }

        return VfioResult.Ok;
    }

    public void ReportTo(Action<BusEvent> sink) => events = sink;

    public VfioResult InjectAer(PciAddress source, AerSeverity severity)
    {
        var function = functions.Find(candidate => candidate.Address == source);
        if (function is null)
            return VfioResult.Fail(Errno.ENODEV, "There is no emulated function at this address; errors can be injected into emulated ones only.");
        if (severity != AerSeverity.Correctable && function is AcceleratorVirtualFunction accelerator)
            accelerator.Fail();
        events?.Invoke(new AerReported(new AerRecord(source, severity, severity == AerSeverity.Correctable ? ReceiverError : UncorrectableInternalError)));
        return VfioResult.Ok;
    }

    public VfioResult Hang(PciAddress function, HangPoint point) => NotYet;

    public VfioResult Release(PciAddress function) => NotYet;

    public VfioResult PullOut(PciAddress function) => NotYet;

    public VfioResult PutBack(PciAddress function) => NotYet;

    public VfioResult Flap(PciAddress function, int times, TimeSpan each) => NotYet;

    private static VfioResult NotYet => VfioResult.Fail(Errno.EOPNOTSUPP, "This bus cannot do that.");

    public void Dispose()
    {
        foreach (var function in functions.OfType<IDisposable>())
            function.Dispose();
    }

    /// <summary>Bits of the AER status registers (PCIe 6.0, 7.8.4).</summary>
    private const uint ReceiverError = 1 << 0;

    private const uint UncorrectableInternalError = 1 << 22;
}
