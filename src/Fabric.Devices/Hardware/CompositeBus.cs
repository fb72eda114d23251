using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Hardware;

/// <summary>Two buses of one host as one: one of them has some domains by itself, the other has all the rest.</summary>
/// <param name="bus">Its addresses come before those of the domains.</param>
/// <param name="isBeside">Which domains the other has.</param>
/// <param name="beside">Has those domains.</param>
public sealed class CompositeBus(IPciBus bus, Predicate<ushort> isBeside, IPciBus beside) : IPciBus, IFaultInjection
{
    public IReadOnlyList<IPciFunction> Functions => beside.Functions is { Count: > 0 } more ? [.. bus.Functions, .. more] : bus.Functions;

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => Of(source).RecoveryScope(source);

    public VfioResult ResetLink(PciAddress source) => Of(source).ResetLink(source);

    public HotResetScope? HotResetScopeOf(PciAddress function) => Of(function).HotResetScopeOf(function);

    public VfioResult HotReset(PciAddress function) => Of(function).HotReset(function);

    public ImmutableArray<PciAddress> PowerScopeOf(PciAddress function) => Of(function).PowerScopeOf(function);

    public VfioResult CyclePower(PciAddress function) => Of(function).CyclePower(function);

    public VfioResult Remove(PciAddress function) => Of(function).Remove(function);

    public void ReportTo(Action<BusEvent> sink)
    {
        bus.ReportTo(sink);
        beside.ReportTo(sink);
    }

    // ---- Faults, where that bus can make them ----------------------------------------------------------------------------------------

    public VfioResult InjectAer(PciAddress source, AerSeverity severity) => FaultsOf(source)?.InjectAer(source, severity) ?? NoFaults;

    public VfioResult Hang(PciAddress function, HangPoint point) => FaultsOf(function)?.Hang(function, point) ?? NoFaults;

    public VfioResult Release(PciAddress function) => FaultsOf(function)?.Release(function) ?? NoFaults;

    public VfioResult PullOut(PciAddress function) => FaultsOf(function)?.PullOut(function) ?? NoFaults;

    public VfioResult PutBack(PciAddress function) => FaultsOf(function)?.PutBack(function) ?? NoFaults;

    public VfioResult Flap(PciAddress function, int times, TimeSpan each) => FaultsOf(function)?.Flap(function, times, each) ?? NoFaults;

    private IPciBus Of(PciAddress address) => isBeside(address.Domain) ? beside : bus;

    private IFaultInjection? FaultsOf(PciAddress address) => Of(address) as IFaultInjection;

    private static VfioResult NoFaults =>
        VfioResult.Fail(Errno.EOPNOTSUPP, "Faults can be injected into emulated functions on an emulated bus only.");
}
