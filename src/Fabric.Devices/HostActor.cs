using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Drivers;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Devices.Hardware;
using Fabric.Devices.History;
using Fabric.Devices.Mdev;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>What a host is made of.</summary>
/// <param name="Inventory">Functions that are shown and not handed out.</param>
/// <param name="StateBytesOf">Bytes of device state of a claimable function; null where it has none.</param>
public sealed record HostOptions(
    IPciBus Bus, DriverCatalog Drivers, ImmutableArray<DeviceStatus> Inventory, Func<IPciFunction, long?> StateBytesOf, TimeProvider Time)
{
    public DeviceOptions Devices { get; init; } = DeviceOptions.Default;

    /// <summary>Where drivers are found that are not in the box; null for none.</summary>
    public PluginOptions? Plugins { get; init; }

    /// <summary>Keeps histories and standings; null for a host that forgets them when it ends.</summary>
    public Props? History { get; init; }

    /// <summary>Mediated devices, whose bus is part of <see cref="Bus"/>; null for a host without parents.</summary>
    public MdevOptions? Mdev { get; init; }
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

    /// <summary>Of these, those that are only shown.</summary>
    private ImmutableHashSet<PciAddress> listed = [];
    private readonly Dictionary<PciAddress, Supervised> supervised = [];
    private readonly Dictionary<string, IActorRef> sets = [];
    private readonly Dictionary<int, IActorRef> groups = [];
    private readonly Queue<IPciFunction> toProbe = new();

    /// <summary>Those whose turn to be probed has not come, and what was asked of each meanwhile: its supervisor answers.</summary>
    private readonly Dictionary<PciAddress, List<(DeviceCommand Command, IActorRef Requester)>?> unprobed = [];
    private readonly HashSet<PciAddress> probing = [];

    /// <summary>Supervisors that end, by whose they were: only then can there be another one of that name.</summary>
    private readonly Dictionary<IActorRef, Ended> ending = [];

    private readonly HardwareWatch watch;
    private readonly ErrorFold fold;
    private ImmutableDictionary<PciAddress, DeviceStanding> standings = ImmutableDictionary<PciAddress, DeviceStanding>.Empty;
    private HostContext context = null!;
    private IActorRef? mdevs;
    private bool started;
    private bool areStandingsKnown;
    private bool areDriversKnown;
    private ImmutableArray<string> lastMethods = [];
    private bool settled;

    public HostActor(HostOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        (this.options, catalog) = (options, options.Drivers);
        var self = Self;
        fold = new ErrorFold(source => self.Tell(new ErrorsArrived(source)));
        watch = new HardwareWatch(options.Devices.CallDeadline);
        foreach (var status in options.Inventory)
            (statuses[status.Address], listed) = (status, listed.Add(status.Address));
    }

    private readonly record struct Supervised(SupervisedDevice Device, IActorRef Supervisor)
    {
        public IPciFunction Function => Device.Function;
    }

    /// <param name="StaysOnBus">What the bus has at that address is what has just been let go.</param>
    private sealed record Ended(PciAddress Address, bool StaysOnBus)
    {
        /// <summary>What has come there since.</summary>
        public IPciFunction? Back { get; set; }
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

    private sealed record RemovedFromBus(IActorRef Supervisor, PciAddress Address, VfioResult Outcome);

    public IStash Stash { get; set; } = null!;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(HostOptions options) => Akka.Actor.Props.Create(() => new HostActor(options));

    protected override void PreStart()
    {
        var history = Context.ActorOf(options.History ?? ForgetfulHistory.Props(), "history");
        context = new HostContext(
            new VfioPciDevices(options.Bus, callersTakeTurns: true), options.Devices, new LaneThreads(), options.Time, Self, history);
        history.Tell(ReadStandings.Instance);
        LoadPlugins();
        Timers.StartPeriodicTimer(CheckCalls.Instance, CheckCalls.Instance, options.Devices.CallDeadline / 2);
        Context.System.EventStream.Subscribe(Self, typeof(DeadLetter));
    }

    protected override void PostStop() => Context.System.EventStream.Unsubscribe(Self);

    /// <summary>What lives for one recovery or one change of VFs is not begun again: it is told how it ended. All else is made anew.</summary>
    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(
        maxNrOfRetries: -1,
        withinTimeRange: Timeout.InfiniteTimeSpan,
        localOnlyDecider: cause => recoveries.ContainsKey(Sender) || sriov.Values.Any(change => change.Operation.Equals(Sender))
            ? Directive.Stop
            : Akka.Actor.SupervisorStrategy.DefaultDecider.Decide(cause));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case StandingsRead read when started:
                OnStandingsLate(read.Standings);
                break;
            case StandingsRead read:
                standings = read.Standings;
                areStandingsKnown = true;
                StartWhenKnown();
                break;
            case PluginsScanned scanned:
                OnPlugins(scanned);
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
                OnReported(report);
                break;
            case DeviceReleased released:
                OnReleased(released);
                break;
            case DeviceUnbound unbound:
                OnUnbound(unbound);
                break;
            case UnbindRefused refused:
                ExplainHeld(refused.Address);
                OnUnbindRefused(refused);
                break;
            case UnboundRemoved removed:
                OnUnboundRemoved(removed);
                break;
            case ProbeAnswered answer:
                OnProbeAnswered(answer);
                break;
            case StandingKept kept:
                OnWritten(kept.Address, null);
                break;
            case StandingNotKept kept:
                OnWritten(kept.Address, kept.Why);
                break;
            case RemovedFromBus removed:
                OnRemoved(removed);
                break;
            case SriovEnded ended:
                sriov.Remove(ended.Address);
                ended.Requester?.Tell(ended.Reply);
                break;
            case WatchCalls or UnwatchCalls or CallCameBack or CheckCalls:
                watch.On(message);
                break;
            case ErrorsDue due:
                OnErrorsDue(due);
                break;
            case Terminated gone:
                OnTerminated(gone.ActorRef);
                break;
            case DeadLetter letter:
                OnDeadLetter(letter);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void StartWhenKnown()
    {
        if (!started && areStandingsKnown && areDriversKnown)
            Start();
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
        var functions = options.Bus.Functions;
        // As large as it will be, and no larger: a hundred thousand are many to move, and many to leave room for in vain.
        supervised.EnsureCapacity(functions.Count);
        foreach (var function in functions)
            Add(function);
        if (options.Mdev is { } mdev)
            mdevs = Context.ActorOf(MdevActor.Props(mdev, context), "mdev");
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
            if (standing.DriverOverride is { } driver && supervised.TryGetValue(address, out var bound))
                bound.Supervisor.Tell(new AdoptOverride(driver));
        }
    }

    /// <summary>Who lists devices at the start waits until they are probed, but not for one that hangs.</summary>
    private void SettleWhenProbed()
    {
        if (started && probing.Count == 0 && choosing.Count == 0 && toProbe.Count == 0)
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
        if (supervised.ContainsKey(function.Address) || unbound.ContainsKey(function.Address) || !unprobed.TryAdd(function.Address, null))
            return;
        unmade.Remove(function.Address);
        statuses[function.Address] = Describe(function, null, null);
        // One whose forerunner is on its way out is probed when that is gone.
        if (ending.Values.FirstOrDefault(left => left.Address == function.Address) is { } forerunner)
            forerunner.Back = function;
        else
            Probe(function);
    }

    private void Probe(IPciFunction function)
    {
        toProbe.Enqueue(function);
        ProbeNext();
    }

    /// <summary>So many at a time: a host of thousands does not probe them all at once.</summary>
    private void ProbeNext()
    {
        while (probing.Count + choosing.Count < options.Devices.ConcurrentProbes && toProbe.TryDequeue(out var function))
            Choose(function);

        // What held a hundred thousand is not kept for the few that come later.
        if (toProbe.Count == 0 && unprobed.Count == 0)
        {
            toProbe.TrimExcess();
            unprobed.TrimExcess();
        }
    }

    private void Supervise(IPciFunction function, DriverRegistration? driver, DriverChoice choice)
    {
        var address = function.Address;
        var standing = standings.GetValueOrDefault(address, DeviceStanding.None);
        statuses[address] = Describe(function, driver, choice);
        // Sessions of an earlier device here, or of an earlier life of this process, must not match.
        var firstSession = options.Time.GetUtcNow().ToUnixTimeMilliseconds() << 20;
        var device = new SupervisedDevice(function, driver, statuses[address], SetOf(function), standing, firstSession);
        var supervisor = Context.ActorOf(DeviceSupervisor.Props(device, context), $"device-{address}");
        Context.Watch(supervisor);
        supervised[address] = new Supervised(device, supervisor);
        probing.Add(address);
        AskAgain(address);
    }

    /// <summary>What was asked of a function before it was anybody's.</summary>
    private void AskAgain(PciAddress address)
    {
        unprobed.Remove(address, out var asked);
        foreach (var (command, requester) in asked ?? [])
            Self.Tell(command, requester);
    }

    private IActorRef SetOf(IPciFunction function)
    {
        if (AskBus(bus => bus.HotResetScopeOf(function.Address), null) is not { Affected.Length: > 1 } scope)
            return ActorRefs.Nobody;
        var key = $"{scope.Kind}-{scope.Affected[0]}";
        if (!sets.TryGetValue(key, out var set))
            sets[key] = set = Context.ActorOf(DeviceSetActor.Props(options.Devices), $"set-{key}");
        return set;
    }

    private DeviceStatus Describe(IPciFunction function, DriverRegistration? driver, DriverChoice? choice) => new(
        function.Address,
        function.Ids,
        driver?.Model,
        Physical: (function.Traits & FunctionTraits.Physical) != 0,
        driver?.Name,
        DeviceState.Probing,
        DeviceHealth.Unknown,
        driver?.FreshState,
        Holder: null,
        AskBus(_ => options.StateBytesOf(function), null),
        function.IommuGroup,
        function.PhysicalFunction,
        MethodsOf(function))
    {
        Choice = choice,
        MdevUuid = options.Mdev?.Bus.Find(function.Address)?.Uuid,
    };

    /// <summary>As an operator chose them, else as the host is told, else as hardware has them.</summary>
    private ImmutableArray<string> MethodsOf(IPciFunction function) =>
        Shared(standings.GetValueOrDefault(function.Address, DeviceStanding.None).ResetMethods is { IsDefault: false } chosen
            ? chosen.Intersect(function.ResetMethods)
            : options.Devices.ResetOrder is { } order ? order.Intersect(function.ResetMethods) : function.ResetMethods);

    /// <summary>Functions come in kinds: those of one that follow each other share what is said of them.</summary>
    private ImmutableArray<string> Shared(IEnumerable<string> methods)
    {
        if (!lastMethods.SequenceEqual(methods))
            lastMethods = [.. methods];
        return lastMethods;
    }

    private void OnStatus(DeviceStatusChanged changed)
    {
        var address = changed.Status.Address;
        if (!supervised.ContainsKey(address))
            return;
        statuses[address] = changed.Status;
        Context.System.EventStream.Publish(changed);
        if (changed.Status.State != DeviceState.Probing)
        {
            if (probing.Remove(address))
                ProbeNext();
            Arrived(address);
        }

        SettleWhenProbed();
        TellWhoWaits(changed.Status, changed);
    }

    /// <summary>A change of VFs waits for those that come and go, and mediated devices are waited for.</summary>
    private void TellWhoWaits(DeviceStatus status, object happened)
    {
        if (status.PhysicalFunction is { } physical && sriov.TryGetValue(physical, out var change))
            change.Operation.Tell(happened);
        if (status.Address.Domain == MdevBus.Domain)
            mdevs?.Tell(happened);
    }

    // ---- Devices go ------------------------------------------------------------------------------------------------------------------

    /// <summary>Let go by its driver; off the bus, unless it is off it already.</summary>
    private void OnReleased(DeviceReleased released)
    {
        if (!supervised.TryGetValue(released.Address, out var device))
            return;
        if (released.Pulled || IsRemovedBySriov(device.Function))
        {
            Forget(released.Address, released.Pulled ? "it was pulled out" : "its VF was removed", staysOnBus: !released.Pulled);
            return;
        }

        var (self, bus, address, supervisor) = (Self, options.Bus, released.Address, device.Supervisor);
        Timers.StartSingleTimer(
            supervisor,
            new RemovedFromBus(supervisor, address, VfioResult.Fail(Errno.ETIMEDOUT, "The bus hangs in removing it.")), options.Devices.SlowCallDeadline);
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

            self.Tell(new RemovedFromBus(supervisor, address, outcome));
        });
    }

    private void OnRemoved(RemovedFromBus removed)
    {
        Timers.Cancel(removed.Supervisor);
        // Given up, or the host of an earlier life: there may be another device there now.
        if (!supervised.TryGetValue(removed.Address, out var device) || !device.Supervisor.Equals(removed.Supervisor))
            return;
        if (!removed.Outcome.IsOk)
            Context.GetLogger().Warning("{0} was let go, but stays on the bus: {1}", removed.Address, removed.Outcome.Error);
        Forget(removed.Address, "it was removed", staysOnBus: !removed.Outcome.IsOk);
    }

    private void Forget(PciAddress address, string why, bool staysOnBus = false)
    {
        if (!supervised.TryGetValue(address, out var gone))
            return;
        ending[gone.Supervisor] = new Ended(address, staysOnBus);
        Context.Stop(gone.Supervisor);
        Strike(address, gone);
        TellGone(address, why);
        if (sriov.TryGetValue(address, out var own))
            own.Operation.Tell(new DeviceGone(address, why));
    }

    /// <summary>It is no device of this host any more.</summary>
    private void TellGone(PciAddress address, string why)
    {
        unmade.Remove(address);
        var gone = new DeviceGone(address, why);
        Context.System.EventStream.Publish(gone);
        if (removals.Remove(address, out var waiting))
        {
            foreach (var requester in waiting)
                requester.Tell(HostDone.Instance);
        }

        if (statuses.Remove(address, out var was))
            TellWhoWaits(was, gone);
        Arrived(address);
    }

    /// <summary>Its standing is the address's: a device that is pulled out and put back is not thereby put back into service.</summary>
    private void Strike(PciAddress address, Supervised gone)
    {
        supervised.Remove(address);
        standings = standings.SetItem(address, gone.Device.Standing);
        if (probing.Remove(address))
            ProbeNext();
    }

    /// <summary>A supervisor could not be kept alive: its device is out of service until the host starts anew.</summary>
    private void OnSupervisorLost(PciAddress address, Supervised lost)
    {
        const string Why = "its supervisor failed and could not be started again";
        Strike(address, lost);
        var status = statuses[address] with
        {
            State = DeviceState.Quarantined, Health = DeviceHealth.Unhealthy, Holder = null, Reason = Why, WayBack = "Remove and rescan it, or restart the host",
        };
        statuses[address] = status;
        Context.System.EventStream.Publish(new DeviceStatusChanged(status));
        if (removals.Remove(address, out var waiting))
        {
            foreach (var requester in waiting)
                requester.Tell(new DeviceFailed(Errno.EIO, $"{address} is out of service: {Why}."));
        }

        Arrived(address);
        SettleWhenProbed();
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
            case FunctionVanished vanished when unprobed.ContainsKey(vanished.Address) || unbound.Remove(vanished.Address):
                ForgetWaiting(vanished.Address);
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
            if (message is OpenGroup or CloseGroup && supervised.Values.All(device => device.Function.IommuGroup != number))
            {
                Sender.Tell(new DeviceFailed(Errno.ENODEV, $"No device of this host is in IOMMU group {number}; list its devices."));
                return;
            }

            groups[number] = group = Context.ActorOf(IommuGroupActor.Props(number), $"iommu-group-{number}");
        }

        group.Forward(message);
    }

    /// <summary>It was gone before its probe had begun.</summary>
    private void ForgetWaiting(PciAddress address)
    {
        var others = toProbe.Where(waiting => waiting.Address != address).ToArray();
        toProbe.Clear();
        foreach (var other in others)
            toProbe.Enqueue(other);
        foreach (var forerunner in ending.Values.Where(left => left.Address == address))
            forerunner.Back = null;
        if (choosing.Remove(address, out var chosen))
            Timers.Cancel(chosen.Number);
        if (writing.Remove(address, out var written))
            written.Requester.Tell(new DeviceFailed(Errno.ENODEV, $"{address} was pulled out."));
        unprobed.Remove(address, out var asked);
        foreach (var (_, requester) in asked ?? [])
            requester.Tell(new DeviceFailed(Errno.ENODEV, $"{address} was pulled out."));
        TellGone(address, "it was pulled out");
        ProbeNext();
        SettleWhenProbed();
    }

    /// <summary>What is asked of the bus by the host itself. A bus that fails must not take all its devices with it.</summary>
    private T AskBus<T>(Func<IPciBus, T> question, T otherwise)
    {
        try
        {
            return question(options.Bus);
        }
        catch (Exception cause)
        {
            Context.GetLogger().Error(cause, "The bus failed");
            return otherwise;
        }
    }

    private void OnTerminated(IActorRef gone)
    {
        if (recoveries.Remove(gone, out var running))
        {
            if (!running.IsReported)
                OnRecoveryLost(running);
            OnRecoveryOver(running.Source);
        }
        else if (ending.Remove(gone, out var left))
        {
            // It may have come back while it was on its way out.
            if (left.Back is { } back)
                Probe(back);
            else if (!left.StaysOnBus && AskBus(static bus => bus.Functions, []).FirstOrDefault(function => function.Address == left.Address) is { } there)
                Add(there);
        }
        else if (supervised.FirstOrDefault(entry => gone.Equals(entry.Value.Supervisor)) is { Value.Device: not null } lost)
        {
            OnSupervisorLost(lost.Key, lost.Value);
        }
        else
        {
            foreach (var (physical, _) in sriov.Where(change => change.Value.Operation.Equals(gone)).ToArray())
                sriov.Remove(physical);
        }
    }

    /// <summary>Requests that reach a device which is gone are answered, as those at a closed file are.</summary>
    private void OnDeadLetter(DeadLetter letter)
    {
        if (letter.Message is DeviceRequest or DeviceCommand && !letter.Sender.IsNobody() && letter.Recipient.Path.Parent is { } above &&
            (above.Equals(Self.Path) || above.Parent.Equals(Self.Path)))
        {
            letter.Sender.Tell(new DeviceFailed(Errno.ENODEV, "This device is gone; ask the host for its devices."));
        }
    }
}
