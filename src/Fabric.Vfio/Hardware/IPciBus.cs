using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>The functions of one host, and what happens on the bus around them.</summary>
public interface IPciBus
{
    /// <summary>Those that are there now, in bus-walk order. Safe to read from any thread.</summary>
    IReadOnlyList<IPciFunction> Functions { get; }

    /// <summary>
    /// Who takes part in the recovery from an error (contract §4.3), in bus-walk order: for an endpoint everything under its upstream port, for
    /// a port or bridge itself and everything below it.
    /// </summary>
    IReadOnlyList<PciAddress> RecoveryScope(PciAddress source);

    /// <summary>Resets the link above an endpoint, or below a port, without saving or restoring config space (ER-10).</summary>
    VfioResult ResetLink(PciAddress source);

    /// <summary>The smallest reset around a function that is more than its own (LC-50, IO-60); null where neither its slot nor its bus can be reset.</summary>
    HotResetScope? HotResetScopeOf(PciAddress function) => null;

    /// <summary>
    /// Resets that slot or bus; config space of every function is after it as hardware leaves it. Errors: ENODEV without a scope, EAGAIN
    /// under contention, EIO.
    /// </summary>
    VfioResult HotReset(PciAddress function) => VfioResult.Fail(Errno.ENODEV, "Neither the slot nor the bus of this function can be reset.");

    /// <summary>Every function that loses power with this one, in bus-walk order; empty where its slot has no power controller.</summary>
    ImmutableArray<PciAddress> PowerScopeOf(PciAddress function) => [];

    /// <summary>
    /// Turns the slot of a function off and on again. Config space of every function in it is after that as at power-on. Errors: ENOTTY where
    /// the slot has no power controller, EIO where it does not come back.
    /// </summary>
    VfioResult CyclePower(PciAddress function) => VfioResult.Fail(Errno.ENOTTY, "The slot of this function has no power controller.");

    /// <summary>
    /// Takes a function that its driver has let go off the bus, as a write to sysfs's remove does. Errors: ENODEV where it is not there,
    /// EOPNOTSUPP where the bus cannot.
    /// </summary>
    VfioResult Remove(PciAddress function) => VfioResult.Fail(Errno.EOPNOTSUPP, "Functions of this bus cannot be removed.");

    /// <summary>Where everything that happens on the bus is reported from now on; called from the hardware's own thread.</summary>
    void ReportTo(Action<BusEvent> sink);
}

public enum HotResetKind
{
    Slot,
    Bus,
}

/// <param name="Affected">Every function that the reset touches, in bus-walk order, whoever's driver it has.</param>
public sealed record HotResetScope(HotResetKind Kind, ImmutableArray<PciAddress> Affected);

/// <summary>Something that happened on the bus by itself.</summary>
public abstract record BusEvent;

/// <summary>A function, bridge or port reported an error.</summary>
public sealed record AerReported(AerRecord Record) : BusEvent;

/// <summary>A function is there that was not: hot-added, or a VF that was made.</summary>
public sealed record FunctionAppeared(IPciFunction Function) : BusEvent;

/// <summary>A function is gone, whatever used it: pulled out, its link down, or removed as it was asked for. It reads all ones from now on.</summary>
public sealed record FunctionVanished(PciAddress Address) : BusEvent;

/// <summary>Somebody wants to take a function out (attention button, sysfs remove): it is to be let go, then <see cref="IPciBus.Remove"/>d.</summary>
public sealed record RemovalRequested(PciAddress Address) : BusEvent;

/// <summary>A call to hardware that can be made to hang.</summary>
public enum HangPoint
{
    /// <summary>Reads and writes of config space.</summary>
    Config,

    /// <summary>Reads and writes of BARs.</summary>
    Region,

    /// <summary>Function resets, by whatever method.</summary>
    Reset,

    /// <summary>Making and removing VFs.</summary>
    Sriov,
}

/// <summary>A bus whose functions can be made to fail: emulated ones. Errors of all: ENODEV where the function is not one of this bus.</summary>
public interface IFaultInjection
{
    /// <summary>Makes a function report an error with a status and header log of the severity's kind.</summary>
    VfioResult InjectAer(PciAddress source, AerSeverity severity);

    /// <summary>Calls of a kind do not return until <see cref="Release"/>.</summary>
    VfioResult Hang(PciAddress function, HangPoint point);

    /// <summary>Hung calls return, and no call hangs any more.</summary>
    VfioResult Release(PciAddress function);

    /// <summary>Pulls a function out: from now on it reads all ones and answers nothing.</summary>
    VfioResult PullOut(PciAddress function);

    /// <summary>Puts a function back that was pulled out, as at power-on. Errors: EEXIST where it is there.</summary>
    VfioResult PutBack(PciAddress function);

    /// <summary>The function's link goes down and comes back, so many times, down and up for so long each. Errors: EINVAL for none or over 100 times.</summary>
    VfioResult Flap(PciAddress function, int times, TimeSpan each);
}
