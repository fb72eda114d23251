using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>A bus whose functions fail when a test says so. What shares a bus number shares a recovery.</summary>
internal class FakeBus(params FakeFunction[] functions) : IPciBus
{
    private Action<BusEvent> sink = _ => { };

    public List<PciAddress> LinkResets { get; } = [];

    public Func<VfioResult> OnLinkReset { get; set; } = () => VfioResult.Ok;

    public IReadOnlyList<IPciFunction> Functions => functions;

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) =>
        [.. functions.Select(function => function.Address).Where(address => address.Bus == source.Bus)];

    public VfioResult ResetLink(PciAddress source)
    {
        LinkResets.Add(source);
        return OnLinkReset();
    }

    public void ReportTo(Action<BusEvent> sink) => this.sink = sink;

    public void Happen(BusEvent happened) => sink(happened);

    public void Report(AerRecord record) => sink(new AerReported(record));
}

internal sealed class FailingBus(params FakeFunction[] functions) : FakeBus(functions), IFaultInjection
{
    public VfioResult InjectAer(PciAddress source, AerSeverity severity)
    {
        if (Functions.All(function => function.Address != source))
            return VfioResult.Fail(Errno.ENODEV, "There is no such function.");
        Report(new AerRecord(source, severity, 0x40_0000));
        return VfioResult.Ok;
    }

    public VfioResult Hang(PciAddress function, HangPoint point) => NotYet;

    public VfioResult Release(PciAddress function) => NotYet;

    public VfioResult PullOut(PciAddress function) => NotYet;

    public VfioResult PutBack(PciAddress function) => NotYet;

    public VfioResult Flap(PciAddress function, int times, TimeSpan each) => NotYet;

    private static VfioResult NotYet => VfioResult.Fail(Errno.EOPNOTSUPP, "This bus cannot do that.");
}
