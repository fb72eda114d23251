using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Devices.History;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>What a host is made of.</summary>
/// <param name="Inventory">Functions that are shown and not handed out.</param>
/// <param name="StateBytesOf">Bytes of device state of a claimable function; null where it has none.</param>
public sealed record HostOptions(
    IPciBus Bus, DriverCatalog Drivers, ImmutableArray<DeviceStatus> Inventory, Func<IPciFunction, long?> StateBytesOf, TimeProvider Time)
{
    public DeviceOptions Devices { get; init; } = DeviceOptions.Default;

    /// <summary>Keeps histories and standings; null for a host that forgets them when it ends.</summary>
    public Props? History { get; init; }
}

/// <summary>
/// One per node, <c>/user/host</c>: probes the functions of its machine, one supervisor each, knows their addresses, and takes what happens on
/// the bus to those it concerns. It is local and knows of no cluster: devices run whether or not anybody coordinates them.
/// </summary>
public sealed partial class HostActor : UntypedActor, IWithUnboundedStash, IWithTimers
{
    private static readonly TimeSpan SettlingTime = TimeSpan.FromSeconds(3);

    private readonly HostOptions options;
    private readonly SortedDictionary<PciAddress, DeviceStatus> statuses = [];
    private readonly Dictionary<PciAddress, Supervised> supervised = [];
    private readonly Dictionary<string, IActorRef> sets = [];
    private readonly Dictionary<int, IActorRef> groups = [];
    private readonly Queue<IPciFunction> toProbe = new();
    private readonly HashSet<PciAddress> probing = [];
    private readonly HardwareWatch watch;
    private readonly ErrorFold fold;
    private ImmutableDictionary<PciAddress, DeviceStanding> standings = ImmutableDictionary<PciAddress, DeviceStanding>.Empty;
    private HostContext context = null!;
    private bool started;
    private bool settled;

    public HostActor(HostOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        this.options = options;
        var self = Self;
        fold = new ErrorFold(source => self.Tell(new ErrorsArrived(source)));
        watch = new HardwareWatch(options.Devices.CallDeadline);
        foreach (var status in options.Inventory)
            statuses[status.Address] = status;
    }

    private sealed record Supervised(SupervisedDevice Device, IActorRef Supervisor)
    {
        public IPciFunction Function => Device.Function;
    }

    private sealed record ErrorsArrived(PciAddress Source);

    private sealed record CheckCalls
    {
        public static CheckCalls Instance { get; } = new();
    }

    private sealed record Settled
    {
        public static Settled Instance { get; } = new();
    }

    private sealed record RemovedFromBus(PciAddress Address, VfioResult Outcome);

    public IStash Stash { get; set; } = null!;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(HostOptions options) => Akka.Actor.Props.Create(() => new HostActor(options));

    protected override void PreStart()
    {
        var history = Context.ActorOf(options.History ?? ForgetfulHistory.Props(), "history");
        context = new HostContext(
            new VfioPciDevices(options.Bus, callersTakeTurns: true), options.Devices, new LaneThreads(), options.Time, Self, history);
        history.Tell(ReadStandings.Instance);
        Context.System.EventStream.Subscribe(Self, typeof(DeadLetter));
        Timers.StartPeriodicTimer(CheckCalls.Instance, CheckCalls.Instance, options.Devices.CallDeadline / 2);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case StandingsRead read when started:
                OnStandingsLate(read.Standings);
                break;
            case StandingsRead read:
                standings = read.Standings;
                Start();
                break;
            case not CheckCalls when !started:
                Stash.Stash();
                break;
            case ListDevices when !settled:
                Stash.Stash();
                break;
            case Settled:
                Settle();
                break;
            case HostRequest request:
                Obey(request);
                break;
            case DeadLetter { Message: DeviceRequest } lost:
                Answer(lost);
                break;
            case DeadLetter:
                break;
            case OpenGroup or CloseGroup or AdmitToGroup or LeaveGroup:
                ToGroup(message);
                break;
            case DeviceStatusChanged changed:
                OnStatus(changed);
                break;
            case DeviceNoted noted:
                Context.System.EventStream.Publish(noted);
                break;
            case BusEvent happened:
                OnBus(happened);
                break;
            case ErrorsArrived arrived:
                OnErrors(arrived.Source);
                break;
            case RecoveryReport report:
                AnswerInjectors(report);
                break;
            case DeviceReleased released:
                OnReleased(released);
                break;
            case RemovedFromBus removed:
                OnRemoved(removed);
                break;
            case WatchCalls or UnwatchCalls or CheckCalls:
                watch.On(message);
                break;
            case ErrorsDue due:
                OnErrorsDue(due);
                break;
            case Terminated gone:
                OnTerminated(gone.ActorRef);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>A request to a device that is gone: its holder need not wait for its own deadline.</summary>
    private static void Answer(DeadLetter lost)
    {
        if (!lost.Sender.IsNobody() && lost.Recipient.Path.ToStringWithoutAddress().StartsWith(Context.Self.Path.ToStringWithoutAddress(), StringComparison.Ordinal))
            lost.Sender.Tell(new DeviceFailed(Errno.ENODEV, "This device was taken away; ask the host for its devices."));
    }

    private void Start()
    {
        started = true;
        var self = Self;
        options.Bus.ReportTo(happened =>
        {
            if (happened is AerReported reported)
                fold.Add(reported.Record);
            else
                self.Tell(happened);
        });
        foreach (var function in options.Bus.Functions)
            Add(function);
        Timers.StartSingleTimer(Settled.Instance, Settled.Instance, SettlingTime);
        SettleWhenProbed();
        Stash.UnstashAll();
    }

    /// <summary>The journal could not be read at the start, and devices came up without it: those that were in quarantine go back there.</summary>
    private void OnStandingsLate(ImmutableDictionary<PciAddress, DeviceStanding> read)
    {
        standings = read;
        foreach (var (address, standing) in read)
        {
            if (standing is { QuarantinedFor: { } why, QuarantinedBy: var by } && supervised.TryGetValue(address, out var device))
                device.Supervisor.Tell(new QuarantineDevice(address, why, by ?? "fabric"), ActorRefs.Nobody);
        }
    }

    /// <summary>Who lists devices at the start waits until they are probed, but not for one that hangs.</summary>
    private void SettleWhenProbed()
    {
        if (started && probing.Count == 0 && toProbe.Count == 0)
            Settle();
    }

    private void Settle()
    {
        if (settled)
            return;
        settled = true;
        Timers.Cancel(Settled.Instance);
        Stash.UnstashAll();
    }

    // ---- Devices come ----------------------------------------------------------------------------------------------------------------

    private void Add(IPciFunction function)
    {
        if (supervised.ContainsKey(function.Address) || toProbe.Any(waiting => waiting.Address == function.Address))
            return;
        statuses[function.Address] = Describe(function, options.Drivers.For(function.Ids));
        toProbe.Enqueue(function);
        ProbeNext();
    }

    /// <summary>So many at a time: a host of thousands does not probe them all at once.</summary>
    private void ProbeNext()
    {
        while (probing.Count < options.Devices.ConcurrentProbes && toProbe.TryDequeue(out var function))
        {
            var address = function.Address;
            var standing = standings.GetValueOrDefault(address, DeviceStanding.None);
            // Sessions of an earlier device here, or of an earlier life of this process, must not match.
            var firstSession = options.Time.GetUtcNow().ToUnixTimeMilliseconds() << 20;
            var device = new SupervisedDevice(function, options.Drivers.For(function.Ids), statuses[address], SetOf(function), standing, firstSession);
            var supervisor = Context.ActorOf(DeviceSupervisor.Props(device, context), $"device-{address}");
            Context.Watch(supervisor);
            supervised[address] = new Supervised(device, supervisor);
            probing.Add(address);
        }
    }

    private IActorRef SetOf(IPciFunction function)
    {
        if (options.Bus.HotResetScopeOf(function.Address) is not { Affected.Length: > 1 } scope)
            return ActorRefs.Nobody;
        var key = $"{scope.Kind}-{scope.Affected[0]}";
        if (!sets.TryGetValue(key, out var set))
            sets[key] = set = Context.ActorOf(DeviceSetActor.Props(options.Devices), $"set-{key}");
        return set;
    }

    private DeviceStatus Describe(IPciFunction function, DriverRegistration? driver) => new(
        function.Address,
        function.Ids,
        driver?.Model,
        Physical: false,
        driver?.Name,
        DeviceState.Probing,
        DeviceHealth.Unknown,
        driver is null ? null : MigrationState.Running,
        Holder: null,
        options.StateBytesOf(function),
        function.IommuGroup,
        function.PhysicalFunction,
        [.. function.ResetMethods]);

    private void OnStatus(DeviceStatusChanged changed)
    {
        var address = changed.Status.Address;
        if (!supervised.ContainsKey(address))
            return;
        statuses[address] = changed.Status;
        Context.System.EventStream.Publish(changed);
        if (changed.Status.State != DeviceState.Probing && probing.Remove(address))
            ProbeNext();
        SettleWhenProbed();
        if (changed.Status.PhysicalFunction is { } physical && sriov.TryGetValue(physical, out var change))
            change.Tell(changed);
    }

    // ---- Devices go ------------------------------------------------------------------------------------------------------------------

    /// <summary>Let go by its driver; off the bus, unless it is off it already.</summary>
    private void OnReleased(DeviceReleased released)
    {
        if (!supervised.TryGetValue(released.Address, out var device))
            return;
        if (released.Pulled || IsRemovedBySriov(device.Function))
        {
            Forget(released.Address, released.Pulled ? "it was pulled out" : "its VF was removed");
            return;
        }

        var (self, bus, address) = (Self, options.Bus, released.Address);
        context.Threads.Run(() =>
        {
            VfioResult outcome;
            try
            {
                outcome = bus.Remove(address);
            }
            catch (Exception cause)
            {
                outcome = VfioResult.Fail(Errno.EIO, $"The bus failed: {cause.Message}");
            }

            self.Tell(new RemovedFromBus(address, outcome));
        });
    }

    private void OnRemoved(RemovedFromBus removed)
    {
        if (!removed.Outcome.IsOk)
            Context.GetLogger().Warning("{0} was let go, but stays on the bus: {1}", removed.Address, removed.Outcome.Error);
        Forget(removed.Address, "it was removed");
    }

    private void Forget(PciAddress address, string why)
    {
        if (!supervised.Remove(address, out var gone))
            return;
        Context.Unwatch(gone.Supervisor);
        Context.Stop(gone.Supervisor);
        statuses.Remove(address);
        // It is this one's until a person says otherwise, whatever is put into the slot; and its history can be asked for.
        standings = standings.SetItem(address, gone.Device.Standing);
        if (probing.Remove(address))
            ProbeNext();
        Context.System.EventStream.Publish(new DeviceGone(address, why));
        if (removals.Remove(address, out var waiting))
        {
            foreach (var requester in waiting)
                requester.Tell(HostDone.Instance);
        }

        if (gone.Function.PhysicalFunction is { } physical && sriov.TryGetValue(physical, out var change))
            change.Tell(new DeviceGone(address, why));
        // It may have come back while it was on its way out.
        if (options.Bus.Functions.FirstOrDefault(function => function.Address == address) is { } back && !ReferenceEquals(back, gone.Function))
            Add(back);
    }

    // ---- The bus ---------------------------------------------------------------------------------------------------------------------

    private void OnBus(BusEvent happened)
    {
        switch (happened)
        {
            case FunctionAppeared appeared:
                Add(appeared.Function);
                break;
            case FunctionVanished vanished when supervised.TryGetValue(vanished.Address, out var device):
                device.Supervisor.Tell(FunctionGone.Instance);
                break;
            case RemovalRequested asked when supervised.TryGetValue(asked.Address, out var device):
                device.Supervisor.Tell(new RemoveDevice(asked.Address, "the slot's attention button"));
                break;
        }
    }

    private void ToGroup(object message)
    {
        var number = message switch
        {
            OpenGroup open => open.Group,
            CloseGroup close => close.Session.Group,
            AdmitToGroup admit => admit.Group,
            LeaveGroup leave => leave.Group,
            _ => -1,
        };
        if (!groups.TryGetValue(number, out var group))
        {
            if (supervised.Values.All(device => device.Function.IommuGroup != number))
            {
                Sender.Tell(new DeviceFailed(Errno.ENODEV, $"No device of this host is in IOMMU group {number}; list its devices."));
                return;
            }

            groups[number] = group = Context.ActorOf(IommuGroupActor.Props(number), $"iommu-group-{number}");
        }

        group.Forward(message);
    }

    private void OnTerminated(IActorRef gone)
    {
        if (recoveries.Remove(gone, out var over))
            OnRecoveryOver(over.Source);
        else if (sriov.FirstOrDefault(entry => entry.Value.Equals(gone)) is { Value: not null } change)
            sriov.Remove(change.Key);
    }
}
