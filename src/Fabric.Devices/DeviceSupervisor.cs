using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Asking;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Devices.History;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>What the devices of one host share.</summary>
/// <param name="Registered">The functions that are registered with the core.</param>
/// <param name="Host">The host actor: bus, groups, watched calls.</param>
/// <param name="History">Keeps what happened, and standings.</param>
internal sealed record HostContext(
    VfioPciDevices Registered, DeviceOptions Options, LaneThreads Threads, TimeProvider Time, IActorRef Host, IActorRef History);

/// <summary>One function to be supervised, and what outlives a restart of its supervisor.</summary>
/// <param name="set">Its device set; Nobody where it is one by itself.</param>
internal sealed class SupervisedDevice(IPciFunction function, DriverRegistration? driver, DeviceStatus status, IActorRef set, DeviceStanding standing, long firstSession)
{
    public IPciFunction Function { get; } = function;

    public DriverRegistration? Driver { get; } = driver;

    public IActorRef Set { get; } = set;

    public CoreSlot Slot { get; } = new(firstSession);

    public DeviceStatus Status { get; set; } = status;

    public DeviceStanding Standing { get; set; } = standing;

    /// <summary>It is on its way out; null where it stays.</summary>
    public Removal? Removal { get; set; }

    /// <summary>Who waits for it to be put back into service.</summary>
    public Waiter? Unquarantining { get; set; }

    /// <summary>It is given up for another driver.</summary>
    public Unbinding? Unbinding { get; set; }

    /// <summary>Who is answered when its standing is written down.</summary>
    public ImmutableList<Waiter> UntilKept { get; set; } = [];

    /// <summary>The driver cannot even be made: none stands in for it until the device is put back.</summary>
    public bool IsDriverBroken { get; set; }
}

/// <summary>How a device leaves.</summary>
/// <param name="Pulled">It was pulled out.</param>
/// <param name="Force">Ends its sessions in time.</param>
/// <param name="AfterVfs">Its VFs are going first (SV-23).</param>
internal sealed record Removal(bool Pulled, ICancelable? Force, bool AfterVfs = false);

/// <summary>Who is answered when something is done.</summary>
internal sealed class Waiter(IActorRef requester, string by)
{
    public IActorRef Requester { get; } = requester;

    public string By { get; } = by;

    /// <summary>Answers it where what it waits for does not come.</summary>
    public ICancelable? Limit { get; set; }
}

/// <summary>The function has been pulled out; told to its supervisor.</summary>
internal sealed record FunctionGone : INoSerializationVerificationNeeded
{
    public static FunctionGone Instance { get; } = new();
}

/// <summary>A supervisor's device has been let go; it can leave the bus.</summary>
/// <param name="Pulled">It was pulled out.</param>
internal sealed record DeviceReleased(PciAddress Address, bool Pulled) : INoSerializationVerificationNeeded;

/// <summary>
/// Owns one function: its chain (driver in front of core), its restarts, its recovery, its standing. A driver that throws is restarted alone, the
/// core keeps its state. A core that throws is a failed device: it is reset and probed anew, its sessions end. Both are budgeted, as recoveries
/// are; past the budget the device is out of service until it is put back. The chain's addresses stay what they are.
/// </summary>
internal sealed partial class DeviceSupervisor : UntypedActor, IWithUnboundedStash
{
    private readonly SupervisedDevice device;
    private readonly HostContext host;
    private IActorRef core = ActorRefs.Nobody;

    /// <summary>Drivers between the front and the core; most devices have none.</summary>
    private ImmutableArray<IActorRef> behindFront = [];

    /// <summary>Driver and core can hang at the same time.</summary>
    private ImmutableList<HardwareHung> hangs = [];
    private IActorRef? climbing;
    private bool restarting;

    public DeviceSupervisor(SupervisedDevice device, HostContext host) => (this.device, this.host) = (device, host);

    private sealed record ForceDue;

    private sealed record KeepingTooLate(Waiter Waiter);

    public IStash Stash { get; set; } = null!;

    /// <summary>The driver that everybody talks to.</summary>
    private IActorRef Front { get; set; } = ActorRefs.Nobody;

    /// <summary>The drivers in front of the core, the front first.</summary>
    private ImmutableArray<IActorRef> Chain => behindFront.Insert(0, Front);

    private PciAddress Address => device.Function.Address;

    private DeviceStatus Status => device.Status;

    private Removal? Leaving => device.Removal;

    private bool IsQuarantined => device.Standing.QuarantinedFor is not null;

    public static Props Props(SupervisedDevice device, HostContext host) => Akka.Actor.Props.CreateBy(new Producer(device, host));

    /// <summary>For hosts of very many devices: made once for each, and kept for its restarts.</summary>
    private sealed class Producer(SupervisedDevice device, HostContext host) : IIndirectActorProducer
    {
        public Type ActorType => typeof(DeviceSupervisor);

        public ActorBase Produce() => new DeviceSupervisor(device, host);

        public void Release(ActorBase actor)
        {
        }
    }

    protected override void PreStart()
    {
        core = Context.ActorOf(
            VfioPciCoreActor.Props(new CoreContext(
                device.Function, host.Registered, device.Driver?.Name ?? DriverDeclaration.VfioPci.Name,
                device.Standing.ResetMethods.IsDefault ? host.Options : host.Options with { ResetOrder = device.Standing.ResetMethods },
                host.Threads, host.Time, device.Slot, host.Host, device.Set) { ConfiguresSriov = device.Driver?.ConfiguresSriov == true })
                .WithDispatcher(ChainDispatcher.Of(Context.System)),
            "core");
        var chain = ChainOf(device.Driver);
        (Front, behindFront) = (chain[0], chain.RemoveAt(0));
        SeeThatDriversAreMade();
        if (Leaving is { } leaving)
        {
            FenceForRemoval(leaving.Pulled);
            Publish(Status with { State = DeviceState.Removing });
        }
        else if (device.Standing.QuarantinedFor is { } why)
        {
            FenceFor(why, readable: false);
            var onPurpose = device.Standing.QuarantinedBy is { } by && by != OwnName;
            Publish(Status with { State = DeviceState.Quarantined, Health = DeviceHealth.Unhealthy, Reason = why, WayBack = WayBack, OnPurpose = onPurpose });
        }
        else
        {
            Publish(Status with { State = DeviceState.Probing, Health = DeviceHealth.Unknown, Holder = null, Migration = Fresh });
        }
    }

    /// <summary>A restart comes with children of its own; what it must not forget is with the device.</summary>
    protected override void PostRestart(Exception reason)
    {
        PreStart();
        if (device.Unquarantining is not null)
            core.Tell(ProbeAnew.Instance);
        Note("supervisor-restarted", reason.Message);
    }

    protected override void PreRestart(Exception reason, object message)
    {
        restarting = true;
        base.PreRestart(reason, message);
    }

    protected override void PostStop()
    {
        if (restarting)
            return;
        Leaving?.Force?.Cancel();
        foreach (var waiter in device.UntilKept)
            waiter.Limit?.Cancel();
    }

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(
        maxNrOfRetries: -1,
        withinTimeRange: Timeout.InfiniteTimeSpan,
        localOnlyDecider: cause => Sender.Equals(core) ? CoreFailed(cause) : Chain.Contains(Sender) ? DriverFailed(cause) : Directive.Stop);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case DeviceRequest request:
                (request is LinkWasReset ? core : Front).Forward(request);
                break;
            case CoreCommand command:
                core.Forward(command);
                break;
            case DeviceCommand command when isUnbound:
                Context.Parent.Forward(command);
                break;
            case DeviceCommand and not InspectDevice when Status.State == DeviceState.Probing:
                Stash.Stash();
                break;
            case DeviceCommand command:
                Obey(command);
                break;
            case DeviceFact fact:
                Apply(fact);
                break;
            case OperatorResetEnded ended:
                Apply(ended.Tried);
                Sender.Tell(ended);
                break;
            case CoreProbed probed:
                OnProbed(probed);
                break;
            case LadderEnded ended when Sender.Equals(climbing):
                climbing = null;
                OnLadderEnded(ended);
                break;
            case FunctionGone when isUnbound:
                Context.Parent.Tell(new FunctionVanished(Address));
                break;
            case FunctionGone:
                OnPulledOut();
                break;
            case ForceDue:
                Note("removal-forced", $"{Status.Holder ?? "its holder"} did not release it in time");
                core.Tell(new EndSessions("taken away by force"));
                break;
            case CoreLeft when Leaving is { } leaving:
                Release(leaving.Pulled);
                break;
            case VirtualFunctionsChanged changed:
                OnVirtualFunctions(changed.Count);
                break;
            case MakingLate or ActorIdentity or CoreUnbound or UnbindDevice or AdoptOverride or ExplainDriver:
            case HostDone or DeviceFailed when device.Unbinding is { IsKeeping: true }:
                OnBinding(message);
                break;
            case SriovConfigured:
                break;
            case DeviceFailed failed when Leaving is { AfterVfs: true }:
                Publish(Status with { Reason = $"waits for its VFs: {failed.Error.Sentence}" });
                break;
            case StandingKept or StandingNotKept:
                OnKept(message);
                break;
            case KeepingTooLate late when device.UntilKept.Contains(late.Waiter):
                device.UntilKept = device.UntilKept.Remove(late.Waiter);
                late.Waiter.Requester.Tell(new DeviceFailed(Errno.ETIMEDOUT, "It is done, but has not been written down in time; see whether the journal works."));
                break;
            case KeepingTooLate:
                break;
            // Answers to what it asked without waiting for them.
            case CoreDone or CoreLeft or CoreChanged or RecoveryVoted or LadderEnded:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>From the back: each driver is given what stands behind it. They are called by their place, the front as if it were alone.</summary>
    private ImmutableArray<IActorRef> ChainOf(DriverRegistration? front, int place = 1)
    {
        var behind = front?.Behind is { } next ? ChainOf(next, place + 1) : [];
        var context = new DriverContext(Address, device.Function.Ids, behind.IsEmpty ? core : behind[0])
        {
            Time = host.Time,
            Host = host.Host,
            Platform = device.Function.Platform,
            // A call may wait for one of the host, and for its set; a driver in front of another for that one to be given up.
            CoreDeadline = (2 * (host.Options.SlowCallDeadline + host.Options.TurnDeadline)) + (behind.Length * host.Options.CallDeadline),
            Bars = device.Function.Bars,
        };
        var props = front is null ? PassthroughDriver.Props(context) : Akka.Actor.Props.CreateBy(new DriverProducer(device, front, context));
        return behind.Insert(0, Context.ActorOf(props.WithDispatcher(ChainDispatcher.Of(Context.System)), place == 1 ? "driver" : $"driver-{place}"));
    }

    private MigrationState? Fresh => device.Driver?.FreshState;

    // ---- Probing ---------------------------------------------------------------------------------------------------------------------

    private void OnProbed(CoreProbed probed)
    {
        if (making is { Hangs: null } && Leaving is null && probed.Refused is null)
        {
            making = making with { Probed = probed };
            return;
        }

        if (device.Unbinding is { IsKeeping: false } && Leaving is null)
        {
            LetGo();
            return;
        }

        if (Leaving is { AfterVfs: false })
        {
            // Its core failed on the way out and was made anew.
            core.Tell(LeaveBus.Instance);
        }
        else if (probed.Refused is not { } refused)
        {
            if (device.Unquarantining is { } back && probed.Anew)
                PutBack(back);
            else if (!IsQuarantined && Leaving is null)
                InService(probed.Anew ? "probed anew, after a reset" : Status.Driver is { } driver ? $"driver {driver}" : "driver none (core alone)");
        }
        else if (device.Unquarantining is { } asked)
        {
            device.Unquarantining = null;
            asked.Requester.Tell(new DeviceFailed(refused));
            Note("still-quarantined", $"{asked.By} put it back, but {refused.Sentence}");
        }
        else if (!probed.Anew && refused.Errno is Errno.EINVAL or Errno.EBUSY)
        {
            // Not sick, and nothing for us: a bridge, a function without an IOMMU, one that another driver has made VFs of.
            Publish(Status with { State = DeviceState.Inventory, Health = DeviceHealth.Unknown, Reason = refused.Sentence });
            Note("not-taken", refused.Sentence);
        }
        else if (!IsQuarantined)
        {
            Quarantine($"it could not be {(probed.Anew ? "reset and probed" : "probed")}: {refused.Sentence}", OwnName, readable: false);
        }

        Stash.UnstashAll();
    }

    private void InService(string how)
    {
        Front.Tell(new FenceDevice(null));
        Publish(Status with { State = DeviceState.Closed, Health = DeviceHealth.Healthy, Reason = null, WayBack = null, Holder = null, Migration = Fresh, Readable = false, VirtualFunctions = 0 });
        Note("probed", how);
    }

    // ---- Failures of driver and core -------------------------------------------------------------------------------------------------

    private Directive DriverFailed(Exception cause)
    {
        // Not a failure: what stood in for it makes way.
        if (cause is ActorKilledException)
            return Directive.Restart;
        Context.GetLogger().Error(cause, "{0}: driver {1} failed", Address, Status.Driver);
        if (cause is ActorInitializationException and not PostRestartException && !IsQuarantined && Leaving is null && device.Driver is not null)
        {
            NotMade(cause);
            return Directive.Restart;
        }

        if (Leaving is { } leaving)
            FenceForRemoval(leaving.Pulled);
        if (IsQuarantined)
        {
            // One that cannot even be made would be made for ever.
            device.IsDriverBroken |= cause is ActorInitializationException or PostRestartException;
            Refence();
            return Directive.Restart;
        }

        Note("driver-restarted", $"the driver {NameOf(Sender)} failed: {cause.Message}");
        if (!SpendRestart())
            Quarantine($"its driver or core failed more than {host.Options.RestartBudget} times within {Window}, last: {cause.Message}", OwnName, readable: false);
        return Directive.Restart;
    }

    /// <summary>Several may stand in a row.</summary>
    private string NameOf(IActorRef failed)
    {
        var driver = device.Driver;
        for (var place = Chain.IndexOf(failed); place > 0; place--)
            driver = driver?.Behind;
        return driver?.Name ?? "none";
    }

    private Directive CoreFailed(Exception cause)
    {
        Context.GetLogger().Error(cause, "{0}: core failed", Address);
        Note("core-failed", cause.Message);
        if (!IsQuarantined && !SpendRestart() && Leaving is null)
            Quarantine($"its driver or core failed more than {host.Options.RestartBudget} times within {Window}, last: {cause.Message}", OwnName, readable: false);
        else if (Leaving is { } leaving && Spent > host.Options.RestartBudget)
            Release(leaving.Pulled);
        NotReadable($"its core failed: {cause.Message}");
        // Reset and probed anew in any case: what throws in that itself throws again, and spends the budget.
        return Directive.Restart;
    }

    private string Window => host.Options.BudgetWindow.TotalHours == 1 ? "an hour" : $"{host.Options.BudgetWindow}";

    private bool SpendRestart()
    {
        var spent = Spend(device.Standing.Restarts);
        Keep(device.Standing with { Restarts = spent });
        return spent.Length <= host.Options.RestartBudget;
    }

    private int Spent => device.Standing.Restarts.Length;

    private bool SpendFreeze()
    {
        var spent = Spend(device.Standing.Freezes);
        Keep(device.Standing with { Freezes = spent });
        return spent.Length <= host.Options.FreezeBudget;
    }

    /// <summary>What lies in the window still, and now.</summary>
    private ImmutableArray<DateTimeOffset> Spend(ImmutableArray<DateTimeOffset> times)
    {
        var now = host.Time.GetUtcNow();
        return [.. times.Where(time => now - time <= host.Options.BudgetWindow), now];
    }

    private void Keep(DeviceStanding standing)
    {
        device.Standing = standing;
        host.History.Tell(new KeepStanding(Address, standing));
    }

    // ---- Facts -----------------------------------------------------------------------------------------------------------------------

    private void Apply(DeviceFact fact)
    {
        switch (fact)
        {
            case SessionOpened opened:
                Publish(Status with { State = Unless(DeviceState.Open), Holder = opened.Holder });
                Note("opened", $"by {opened.Holder}");
                break;
            case SessionClosed closed:
                foreach (var driver in Chain)
                    driver.Tell(closed);
                Publish(Status with { State = Unless(DeviceState.Closed), Holder = null, Migration = Fresh });
                Note("closed", $"{closed.Holder}: {closed.Why}");
                break;
            case ResetTried reset:
                Note("reset", reset.ToString());
                break;
            case MigrationStateChanged changed:
                Publish(Status with { Migration = changed.State });
                break;
            case ErrorsReported errors:
                Note("error", Describe(errors));
                break;
            case RecoveryStarted or RecoveryEnded when IsQuarantined || Leaving is not null:
                if (fact is RecoveryEnded { Recovered: false })
                    NotReadable("it did not recover from an uncorrectable error");
                break;
            case RecoveryStarted started:
                OnRecoveryStarted(started);
                break;
            case RecoveryEnded { Recovered: true }:
                Recovered("recovered", "in service again");
                break;
            case RecoveryEnded:
                Quarantine("it did not recover from an uncorrectable error", OwnName, readable: false);
                break;
            case LostConfigRepaired repaired:
                Note("config-repaired", $"a reset had taken {repaired.Lost}; it was given back, interrupts are armed again");
                break;
            case DriverFault fault:
                Note("driver-fault", fault.What);
                break;
            case LinkFoundDead when !IsQuarantined && climbing is null && Leaving is null && Status.State != DeviceState.Recovering:
                Climb("its config space reads all ones: the link is dead");
                break;
            case LinkFoundDead:
                NotReadable("its config space reads all ones: the link is dead");
                break;
            case HardwareHung hang:
                OnHung(hang);
                break;
            case HangEnded ended:
                OnHangEnded(ended);
                Note("hang-ended", $"{ended.Call} came back; what it brought was thrown away");
                if (IsQuarantined)
                    Publish(Status with { WayBack = WayBack });
                break;
            case ReleaseRequested request:
                var waits = $"waits for {Status.Holder ?? "its holder"}{(request.Heard ? "" : ", who does not listen to REQ")}, asked {request.Number + 1} times in {request.Waited.TotalSeconds:0} s";
                // Nobody who is waited for keeps what is gone already.
                if (Leaving is not { Pulled: true })
                    Publish(Status with { Reason = waits });
                Note("release-requested", waits);
                break;
        }
    }

    /// <summary>A recovery, a removal or a quarantine goes on whoever comes and goes.</summary>
    private DeviceState Unless(DeviceState state) =>
        Status.State is DeviceState.Recovering or DeviceState.Quarantined or DeviceState.Removing or DeviceState.Probing ? Status.State : state;

    private static string Describe(ErrorsReported errors)
    {
        var last = $"{errors.Last.Severity} error, status 0x{errors.Last.Status:x8}, header log {errors.Last.HeaderLog}";
        var all = errors.Correctable + errors.Uncorrectable;
        return all <= 1 ? last : $"{all} errors ({errors.Uncorrectable} uncorrectable), the worst: {last}";
    }

    private void OnRecoveryStarted(RecoveryStarted started)
    {
        Publish(Status with { State = DeviceState.Recovering, Health = DeviceHealth.Unhealthy, Reason = $"recovers from a {started.Record.Severity} error of {started.Record.Source}" });
        Note("recovering", $"from a {started.Record.Severity} error of {started.Record.Source}");
        // A non-fatal error leaves the device's state as it is: its holder can be moved away with it, unless that recovery fails as well.
        if (started.IsSource && !SpendFreeze())
            Quarantine($"more than {host.Options.FreezeBudget} freezes within {Window}", OwnName, readable: Hung is null && started.Record.Severity == AerSeverity.NonFatal);
    }

    private void Recovered(string kind, string message)
    {
        Publish(Status with { State = Status.Holder is null ? DeviceState.Closed : DeviceState.Open, Health = DeviceHealth.Healthy, Reason = null, WayBack = null });
        Note(kind, message);
    }

    private HardwareHung? Hung => hangs.FirstOrDefault();

    /// <summary>Where a restart has lost its name it is the oldest.</summary>
    private void OnHangEnded(HangEnded ended)
    {
        var which = hangs.FindIndex(hang => hang.Call == ended.Call);
        if (hangs.Count > 0)
            hangs = hangs.RemoveAt(Math.Max(which, 0));
    }

    private void OnHung(HardwareHung hang)
    {
        hangs = hangs.Add(hang);
        Note("hung", $"{hang.Call} has not come back for {hang.For.TotalSeconds:0.#} s");
        var why = $"it hangs in {hang.Call}: not back after {hang.For.TotalSeconds:0.#} s";
        // Nothing more comes of a removal that waits for it.
        if (Leaving is { } leaving)
            Release(leaving.Pulled);
        else if (IsQuarantined)
            NotReadable(why);
        else
            Quarantine(why, OwnName, readable: false);
    }

    // ---- The ladder, for this device alone -------------------------------------------------------------------------------------------

    private void Climb(string cause)
    {
        Publish(Status with { State = DeviceState.Recovering, Health = DeviceHealth.Unhealthy, Reason = cause });
        Note("recovering", cause);
        if (!SpendFreeze())
        {
            Quarantine($"more than {host.Options.FreezeBudget} freezes within {Window}", OwnName, readable: false);
            return;
        }

        climbing = Context.ActorOf(ResetLadder.Props([new RecoveryMember(Address, Self, Status.ResetMethods)], Address, cause, host.Options));
    }

    private void OnLadderEnded(LadderEnded ended)
    {
        if (IsQuarantined || Leaving is not null)
            return;
        if (ended.Recovered.Contains(Address))
            Recovered("recovered", "in service again, after a reset");
        else
            Quarantine("no rung of the reset ladder brought it back", OwnName, readable: false);
    }

    // ---- History ---------------------------------------------------------------------------------------------------------------------

    private void Note(string kind, string message)
    {
        var entry = new DeviceHistoryEntry(host.Time.GetUtcNow(), kind, message);
        host.History.Tell(new NoteHistory(Address, entry));
        Context.Parent.Tell(new DeviceNoted(Address, entry));
    }

    private void Publish(DeviceStatus changed)
    {
        if (changed == Status)
            return;
        device.Status = changed;
        Context.Parent.Tell(new DeviceStatusChanged(changed));
    }
}
