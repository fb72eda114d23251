using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>
/// A bus in a test's hand: functions come, go and come back, share a slot and its power where it says so, and everything that it is asked can be
/// made to throw, hang or fail. What shares a bus number shares an upstream port: <see cref="PortOf"/>.
/// </summary>
internal sealed class SlotBus : IPciBus, IFaultInjection, IDisposable
{
    private readonly Lock gate = new();
    private readonly SortedDictionary<PciAddress, SlotFunction> there = [];
    private readonly Dictionary<PciAddress, SlotFunction> pulled = [];
    private readonly List<Hang> hangs = [];
    private Action<BusEvent> sink = _ => { };

    /// <summary>Before everything that the bus is asked, with its name.</summary>
    public Action<string> Before { get; set; } = _ => { };

    public List<PciAddress> LinkResets { get; } = [];

    public Func<PciAddress, VfioResult> OnLinkReset { get; set; } = _ => VfioResult.Ok;

    /// <summary>Functions that a slot reset touches together.</summary>
    public ImmutableArray<PciAddress> Slot { get; set; } = [];

    public Func<VfioResult> OnHotReset { get; set; } = () => VfioResult.Ok;

    /// <summary>Whether the slot's power, or a single function's, can be cycled.</summary>
    public bool HasPower { get; set; }

    public Func<VfioResult> OnPower { get; set; } = () => VfioResult.Ok;

    public Func<VfioResult> OnRemove { get; set; } = () => VfioResult.Ok;

    public IReadOnlyList<IPciFunction> Functions
    {
        get
        {
            lock (gate)
                return [.. there.Values];
        }
    }

    public static PciAddress PortOf(PciAddress function) => new(function.Domain, 0, (byte)(function.Bus & 0x1f), 0);

    public SlotFunction Add(PciAddress address, PciAddress? physical = null, int totalVfs = 0)
    {
        var function = new SlotFunction(this, address, physical, totalVfs);
        Put(function);
        return function;
    }

    public void Put(SlotFunction function)
    {
        lock (gate)
            there[function.Address] = function;
        sink(new FunctionAppeared(function));
    }

    public SlotFunction At(PciAddress address)
    {
        lock (gate)
            return there[address];
    }

    /// <summary>Null where it is not there.</summary>
    public SlotFunction? Find(PciAddress address)
    {
        lock (gate)
            return there.GetValueOrDefault(address);
    }

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source)
    {
        Before("scope");
        lock (gate)
            return [.. there.Keys.Where(address => address.Bus == source.Bus || PortOf(address) == source)];
    }

    public VfioResult ResetLink(PciAddress source)
    {
        Before("link");
        lock (gate)
            LinkResets.Add(source);
        return OnLinkReset(source);
    }

    public HotResetScope? HotResetScopeOf(PciAddress function)
    {
        Before("set");
        return Slot.Contains(function) ? new HotResetScope(HotResetKind.Slot, Slot) : null;
    }

    public VfioResult HotReset(PciAddress function)
    {
        Before("hot reset");
        At(function).Calls.Enqueue("slot");
        return OnHotReset();
    }

    public ImmutableArray<PciAddress> PowerScopeOf(PciAddress function) => !HasPower ? [] : Slot.Contains(function) ? Slot : [function];

    public VfioResult CyclePower(PciAddress function)
    {
        Before("power");
        At(function).Calls.Enqueue("power");
        return OnPower();
    }

    public VfioResult Remove(PciAddress function)
    {
        Before("remove");
        var outcome = OnRemove();
        if (outcome.IsOk)
        {
            lock (gate)
                there.Remove(function);
        }

        return outcome;
    }

    public void ReportTo(Action<BusEvent> sink) => this.sink = sink;

    public void Report(BusEvent happened) => sink(happened);

    public void Report(PciAddress source, AerSeverity severity, uint status = 0x40_0000, AerHeaderLog log = default) =>
        sink(new AerReported(new AerRecord(source, severity, status, log)));

    public void SetVirtualFunctions(SlotFunction physical, int count)
    {
        SlotFunction[] gone;
        lock (gate)
        {
            gone = [.. there.Values.Where(function => function.PhysicalFunction == physical.Address)];
            foreach (var function in gone)
                there.Remove(function.Address);
        }

        foreach (var function in gone)
        {
            function.IsDead = true;
            sink(new FunctionVanished(function.Address));
        }

        for (var number = 0; number < count; number++)
            Add(physical.Address with { Device = 0x10, Function = (byte)number }, physical.Address);
    }

    // ---- Faults ----------------------------------------------------------------------------------------------------------------------

    public VfioResult InjectAer(PciAddress source, AerSeverity severity)
    {
        Before("inject");
        Report(source, severity);
        return VfioResult.Ok;
    }

    public VfioResult Hang(PciAddress function, HangPoint point)
    {
        Before("inject");
        var hang = HangAt(function, point switch { HangPoint.Config => "config", HangPoint.Region => "region", HangPoint.Reset => "reset", _ => "sriov" });
        lock (gate)
            hangs.Add(hang);
        return VfioResult.Ok;
    }

    public VfioResult Release(PciAddress function)
    {
        Before("inject");
        At(function).Before = _ => { };
        Dispose();
        return VfioResult.Ok;
    }

    public VfioResult PullOut(PciAddress function)
    {
        Before("inject");
        lock (gate)
        {
            if (!there.Remove(function, out var gone))
                return VfioResult.Fail(Errno.ENODEV, "It is not there.");
            gone.IsDead = true;
            pulled[function] = gone;
        }

        sink(new FunctionVanished(function));
        return VfioResult.Ok;
    }

    public VfioResult PutBack(PciAddress function)
    {
        Before("inject");
        SlotFunction back;
        lock (gate)
        {
            if (!pulled.Remove(function, out back!))
                return VfioResult.Fail(Errno.ENODEV, "It was not pulled out.");
        }

        back.IsDead = false;
        Put(back);
        return VfioResult.Ok;
    }

    public VfioResult Flap(PciAddress function, int times, TimeSpan each)
    {
        Before("inject");
        return VfioResult.Ok;
    }

    /// <summary>Calls of a kind to a function hang from now on.</summary>
    public Hang HangAt(PciAddress function, string what)
    {
        var hang = new Hang();
        At(function).Before = call =>
        {
            if (call.Contains(what, StringComparison.Ordinal))
                hang.Enter();
        };
        return hang;
    }

    public void Dispose()
    {
        lock (gate)
            hangs.ForEach(static hang => hang.Release());
    }
}
