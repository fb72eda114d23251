using System.Collections.Frozen;
using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// A host's PCI functions in software, with the ports and bridges that they hang on. Domain 0xfab0, out of the way of real ones; a host with
/// more than 248 ports goes on in the domains after it. What is there changes under one lock; what is read is a snapshot.
/// </summary>
public sealed partial class EmulatedBus : IPciBus, IFaultInjection, IDisposable
{
    /// <summary>Real hosts number their domains from 0; an emulated function is told from a real one by its address already.</summary>
    public const ushort Domain = 0xfab0;

    /// <summary>Whether a domain is beyond all real ones.</summary>
    public static bool Has(ushort domain) => domain >= Domain;

    private readonly Lock mutation = new();
    private readonly BusEvents events = new();
    private readonly ImmutableArray<EmulatedPort> ports;

    /// <summary>The port above each bus, by domain and bus number.</summary>
    private readonly FrozenDictionary<int, EmulatedPort> portAbove;

    private volatile BusSnapshot there;

    /// <exception cref="ArgumentOutOfRangeException">More accelerators or VFs than there are addresses, or a count below 0.</exception>
    /// <exception cref="ArgumentException">A model that there is not.</exception>
    public EmulatedBus(EmulatedBusOptions options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Accelerators, 16);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.FunctionsPerAccelerator, 7);
        Time = time;
        var addresses = new HostAddresses();
        var builder = new BusBuilder(options, time);
        for (var card = 0; card < options.Accelerators; card++)
            EmulatedModels.AddAccelerator(builder, options.FunctionsPerAccelerator, options.VirtualFunctionsAtStart);
        foreach (var card in options.Cards)
            EmulatedModels.Add(builder, card);

        ports = [.. builder.Ports.OrderBy(static port => port.Address)];
        portAbove = ports.ToFrozenDictionary(static port => Key(port.Address.Domain, port.Secondary));
        foreach (var port in ports)
            port.Bus = this;
        foreach (var function in builder.Functions)
        {
            function.Bus = this;
            function.Place(addresses);
        }

        there = BusSnapshot.Of(builder.Functions);
    }

    /// <summary>What is there: ports and bridges are not in it, for nobody is handed one.</summary>
    public IReadOnlyList<IPciFunction> Functions => there.Functions;

    /// <summary>The root ports and bridges, by address. They do not come and go.</summary>
    public IReadOnlyList<IPciFunction> Ports => ImmutableArray<IPciFunction>.CastUp(ports);

    internal TimeProvider Time { get; }

    // ---- Scopes ----------------------------------------------------------------------------------------------------------------------

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source)
    {
        if (FindPort(source) is { } port)
            return [port.Address, .. Below(port)];
        return PortAbove(source) is { } above ? Below(above) : [];
    }

    /// <summary>A VF has none: it is a set by itself (LC-50).</summary>
    public HotResetScope? HotResetScopeOf(PciAddress function) =>
        there.Find(function) is { IsVirtualFunction: false } && PortAbove(function) is { Traits.Reset: { } kind } above
            ? new HotResetScope(kind, FunctionsBelow(above))
            : null;

    public ImmutableArray<PciAddress> PowerScopeOf(PciAddress function) => PoweredSlotOf(function) is { } slot ? FunctionsBelow(slot) : [];

    /// <summary>
    /// Functions of a bridge's conventional bus share a group with it; those of a card without ACS share one; else each has its own.
    /// </summary>
    internal int? IommuGroupOf(EmulatedFunction function) => PortAbove(function.Address) switch
    {
        { Traits.Grouping: Grouping.Together } slot => GroupNumber(slot.Address.Domain, slot.Secondary << 8),
        { Traits.Grouping: Grouping.WithBridge } bridge => GroupNumber(bridge.Address.Domain, bridge.Address.RoutingId),
        _ => GroupNumber(function.Address.Domain, function.Address.RoutingId),
    };

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    public VfioResult ResetLink(PciAddress source) => (FindPort(source) ?? PortAbove(source)) is { } port
        ? ResetBelow(port, ResetRungs.Bus)
        : NoSuchFunction;

    public VfioResult HotReset(PciAddress function) => HotResetScopeOf(function) is not null
        ? ResetBelow(PortAbove(function)!, ResetRungs.Bus)
        : VfioResult.Fail(Errno.ENODEV, "Neither the slot nor the bus of this function can be reset.");

    public VfioResult CyclePower(PciAddress function) => PoweredSlotOf(function) is { } slot
        ? ResetBelow(slot, ResetRungs.Power)
        : VfioResult.Fail(Errno.ENOTTY, "The slot of this function has no power controller.");

    /// <summary>A write to a bridge's control register.</summary>
    internal void ResetBelow(EmulatedFunction port) => ResetBelow((EmulatedPort)port, ResetRungs.Bus);

    /// <summary>A reset of a function by that of its bus: only where it is alone there, as the kernel has it.</summary>
    internal VfioResult ResetBusOf(EmulatedFunction function) => PortAbove(function.Address) is { } above && there.Below(above).Length == 1
        ? ResetBelow(above, ResetRungs.Bus)
        : VfioResult.Fail(Errno.ENOTTY, "The function is not alone on its bus, so the bus is not reset for it.");

    /// <summary>Everything below a port is reset, whatever becomes of the others; the first failure is the answer.</summary>
    private VfioResult ResetBelow(EmulatedPort port, ResetRungs rung)
    {
        var outcome = VfioResult.Ok;
        foreach (var bridge in ports)
        {
            if (port.IsAbove(bridge.Address))
                bridge.Undergo(rung);
        }

        foreach (var function in there.Below(port))
        {
            var reset = function.Undergo(rung);
            if (outcome.IsOk)
                outcome = reset;
        }

        return outcome;
    }

    // ---- Coming and going ------------------------------------------------------------------------------------------------------------

    public VfioResult Remove(PciAddress function) => Change(() => Take(function));

    public void ReportTo(Action<BusEvent> sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        events.ReportTo(sink);
    }

    /// <summary>Somebody presses the attention button of a function's slot. Errors: ENODEV.</summary>
    public VfioResult RequestRemoval(PciAddress function) => Change(() =>
    {
        if (there.Find(function) is null)
            return NoSuchFunction;
        events.Add(new RemovalRequested(function));
        return VfioResult.Ok;
    });

    /// <summary>Errors: EBUSY with VFs there, EINVAL over TotalVFs, ENODEV where the PF is gone.</summary>
    internal VfioResult SetVirtualFunctions(EmulatedFunction physical, int count) => Change(() =>
    {
        if (there.Find(physical.Address) != physical || physical is not IVirtualFunctionParent parent)
            return NoSuchFunction;
        var present = there.VirtualFunctionsOf(physical);
        if (count == 0)
        {
            if (parent.HasStaticVirtualFunctions)
                return VfioResult.Ok;
            foreach (var pulledOut in absent.Values.Where(candidate => candidate.Parent == physical).ToArray())
                Forget(pulledOut.Address);
            parent.EnableVirtualFunctions(0);
            Leave(present);
            foreach (var gone in present)
                gone.Dispose();
            return VfioResult.Ok;
        }

        if (!present.IsEmpty || parent.HasStaticVirtualFunctions)
            return VfioResult.Fail(Errno.EBUSY, "The function has VFs already; remove them before making another number of them.");
        if (count < 0 || count > parent.TotalVirtualFunctions)
            return VfioResult.Fail(Errno.EINVAL, "The function has not so many VFs.");
        parent.EnableVirtualFunctions(count);
        Enter([.. Enumerable.Range(1, count).Select(parent.CreateVirtualFunction)]);
        return VfioResult.Ok;
    });

    /// <summary>The VFs of a function that are there.</summary>
    internal ImmutableArray<EmulatedFunction> VirtualFunctionsOf(EmulatedFunction physical) => there.VirtualFunctionsOf(physical);

    public void Dispose()
    {
        lock (mutation)
        {
            isDisposed = true;
            foreach (var flap in flaps)
                flap.Dispose();
            flaps.Clear();
            foreach (var function in there.Functions.Concat(absent.Values).OfType<IDisposable>())
                function.Dispose();
        }
    }

    /// <summary>A change of what is there, then the telling of it, in order, with the lock free.</summary>
    private VfioResult Change(Func<VfioResult> change)
    {
        VfioResult changed;
        lock (mutation)
            changed = isDisposed ? NoSuchFunction : change();
        events.Deliver();
        return changed;
    }

    private void Enter(ImmutableArray<EmulatedFunction> entering)
    {
        foreach (var function in entering)
            function.Bus = this;
        there = there.With(entering);
        foreach (var function in entering)
            events.Add(new FunctionAppeared(function));
    }

    /// <summary>The last of a walk goes first, as the kernel removes them: VFs before their PF.</summary>
    private void Leave(ImmutableArray<EmulatedFunction> going)
    {
        there = there.Without(going);
        foreach (var function in going.Reverse())
        {
            function.Vanish();
            events.Add(new FunctionVanished(function.Address));
        }
    }

    private ImmutableArray<PciAddress> FunctionsBelow(EmulatedPort port)
    {
        var below = there.Below(port);
        var found = ImmutableArray.CreateBuilder<PciAddress>(below.Length);
        foreach (var function in below)
            found.Add(function.Address);
        return found.MoveToImmutable();
    }

    /// <summary>Functions, ports and bridges, in bus-walk order.</summary>
    private ImmutableArray<PciAddress> Below(EmulatedPort port) => ports.Any(bridge => port.IsAbove(bridge.Address))
        ? [.. FunctionsBelow(port).Concat(ports.Where(bridge => port.IsAbove(bridge.Address)).Select(static bridge => bridge.Address)).Order()]
        : FunctionsBelow(port);

    private EmulatedPort? PortAbove(PciAddress address) => portAbove.GetValueOrDefault(Key(address.Domain, address.Bus));

    private EmulatedPort? FindPort(PciAddress address)
    {
        foreach (var port in ports)
        {
            if (port.Address == address)
                return port;
        }

        return null;
    }

    private EmulatedPort? PoweredSlotOf(PciAddress function)
    {
        if (there.Find(function) is null)
            return null;
        var port = PortAbove(function);
        while (port is { Traits.HasPowerController: false })
            port = port.Above;
        return port;
    }

    private static int Key(ushort domain, byte bus) => (domain << 8) | bus;

    /// <summary>A group number for each address, of whatever domain.</summary>
    internal static int GroupNumber(ushort domain, int routingId) => (((domain - Domain) & short.MaxValue) << 16) | routingId;

    private static VfioResult NoSuchFunction =>
        VfioResult.Fail(Errno.ENODEV, "There is no emulated function at this address; faults can be made in emulated ones only.");
}
