using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>The functions of one host, and what happens on the bus around them.</summary>
public interface IPciBus
{
    /// <summary>In bus-walk order.</summary>
    IReadOnlyList<IPciFunction> Functions { get; }

    /// <summary>Everything under the upstream port of a function, in bus-walk order: who takes part in a recovery (contract §4.3).</summary>
    IReadOnlyList<PciAddress> RecoveryScope(PciAddress source);

    /// <summary>Resets the link above a function, without saving or restoring config space (ER-10).</summary>
    VfioResult ResetLink(PciAddress source);

    /// <summary>The smallest reset around a function that is more than its own (LC-50, IO-60); null where neither its slot nor its bus can be reset.</summary>
    HotResetScope? HotResetScopeOf(PciAddress function) => null;

    /// <summary>
    /// Resets that slot or bus; config space of every function is after it as hardware leaves it. Errors: ENODEV without a scope, EAGAIN
    /// under contention, EIO.
    /// </summary>
    VfioResult HotReset(PciAddress function) => VfioResult.Fail(Errno.ENODEV, "Neither the slot nor the bus of this function can be reset.");

    /// <summary>Where errors are reported from now on; called from the hardware's own thread.</summary>
    void ReportErrorsTo(Action<AerRecord> sink);
}

public enum HotResetKind
{
    Slot,
    Bus,
}

/// <param name="Affected">Every function that the reset touches, in bus-walk order, whoever's driver it has.</param>
public sealed record HotResetScope(HotResetKind Kind, ImmutableArray<PciAddress> Affected);

/// <summary>A bus whose functions can be made to fail: emulated ones.</summary>
public interface IFaultInjection
{
    /// <summary>Makes a function report an error. Errors: ENODEV where the function is not one of this bus.</summary>
    VfioResult InjectAer(PciAddress source, AerSeverity severity);
}
