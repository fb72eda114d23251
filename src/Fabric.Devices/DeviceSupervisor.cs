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
    private IActorRef front = ActorRefs.Nobody;
    private HardwareHung? hung;
    private IActorRef? climbing;
    private Removal? removal;
    private Waiter? unquarantining;

    public DeviceSupervisor(SupervisedDevice device, HostContext host) => (this.device, this.host) = (device, host);

    private sealed record Removal(bool Pulled, ICancelable? Force);

    /// <summary>Who is answered when something is done.</summary>
    private sealed record Waiter(IActorRef Requester, string By);

    private sealed record ForceDue;

    public IStash Stash { get; set; } = null!;

    private PciAddress Address => device.Function.Address;

    private DeviceStatus Status => device.Status;

    private bool IsQuarantined => device.Standing.QuarantinedFor is not null;

    public static Props Props(SupervisedDevice device, HostContext host) => Akka.Actor.Props.Create(() => new DeviceSupervisor(device, host));

    protected override void PreStart()
    {
        core = Context.ActorOf(
            VfioPciCoreActor.Props(new CoreContext(
                device.Function, host.Registered, device.Driver?.Name ?? DriverDeclaration.VfioPci.Name,
                device.Standing.ResetMethods.IsDefault ? host.Options : host.Options with { ResetOrder = device.Standing.ResetMethods },
                host.Threads, host.Time, device.Slot, host.Host, device.Set)),
            "core");
        var context = new DriverContext(Address, device.Function.Ids, core) { Time = host.Time, Host = host.Host };
        front = Context.ActorOf(device.Driver?.Create(context) ?? PassthroughDriver.Props(context), "driver");
        if (device.Standing.QuarantinedFor is { } why)
        {
            FenceFor(why, readable: false);
            Publish(Status with { State = DeviceState.Quarantined, Health = DeviceHealth.Unhealthy, Reason = why, WayBack = WayBack });
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
        Note("supervisor-restarted", reason.Message);
    }

    protected override void PostStop() => removal?.Force?.Cancel();

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(
        maxNrOfRetries: -1,
        withinTimeRange: Timeout.InfiniteTimeSpan,
        localOnlyDecider: cause => Sender.Equals(core) ? CoreFailed(cause) : Sender.Equals(front) ? DriverFailed(cause) : Directive.Stop);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case DeviceRequest request:
                (request is LinkWasReset ? core : front).Forward(request);
                break;
            case CoreCommand command:
                core.Forward(command);
                break;
            case FindDevice or DeviceCommand when Status.State == DeviceState.Probing:
                Stash.Stash();
                break;
            case DeviceCommand command:
                Obey(command);
                break;
            case DeviceFact fact:
                Apply(fact);
                break;
            case CoreProbed probed:
                OnProbed(probed);
                break;
            case LadderEnded ended when Sender.Equals(climbing):
                climbing = null;
                OnLadderEnded(ended);
                break;
            case FunctionGone:
                OnPulledOut();
                break;
            case ForceDue:
                Note("removal-forced", $"{Status.Holder ?? "its holder"} did not release it in time");
                core.Tell(new EndSessions("taken away by force"));
                break;
            case CoreLeft when removal is { } leaving:
                Context.Parent.Tell(new DeviceReleased(Address, leaving.Pulled));
                break;
            case VirtualFunctionsChanged { Count: { } count }:
                Publish(Status with { VirtualFunctions = count });
                Note("sriov", $"{count} VFs");
                break;
            case VirtualFunctionsChanged:
                break;
            case StandingKept or StandingNotKept:
                OnKept(message);
                break;
            // Answers to what it asked without waiting for them.
            case CoreDone or CoreLeft or CoreChanged or RecoveryVoted or LadderEnded:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private MigrationState? Fresh => device.Driver is null ? null : MigrationState.Running;

    // ---- Probing ---------------------------------------------------------------------------------------------------------------------

    private void OnProbed(CoreProbed probed)
    {
        if (probed.Refused is not { } refused)
        {
            if (unquarantining is { } back)
                PutBack(back);
            else if (!IsQuarantined && removal is null)
                InService(probed.Anew ? "probed anew, after a reset" : $"driver {Status.Driver ?? "none (core alone)"}");
        }
        else if (unquarantining is { } asked)
        {
            unquarantining = null;
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
            Quarantine($"it could not be {(probed.Anew ? "reset and probed" : "probed")}: {refused.Sentence}", "fabric", readable: false);
        }

        Stash.UnstashAll();
    }

    private void InService(string how)
    {
        front.Tell(new FenceDevice(null));
        Publish(Status with { State = DeviceState.Closed, Health = DeviceHealth.Healthy, Reason = null, WayBack = null, Holder = null, Migration = Fresh, Readable = false });
        Note("probed", how);
    }

    // ---- Failures of driver and core -------------------------------------------------------------------------------------------------

    private Directive DriverFailed(Exception cause)
    {
        Context.GetLogger().Error(cause, "{0}: driver {1} failed", Address, Status.Driver);
        if (IsQuarantined)
        {
            Refence();
            return Directive.Restart;
        }

        Note("driver-restarted", $"the driver failed: {cause.Message}");
        if (!SpendRestart())
            Quarantine($"its driver or core failed more than {host.Options.RestartBudget} times within {Window}, last: {cause.Message}", "fabric", readable: false);
        return Directive.Restart;
    }

    private Directive CoreFailed(Exception cause)
    {
        Context.GetLogger().Error(cause, "{0}: core failed", Address);
        Note("core-failed", cause.Message);
        if (!IsQuarantined && !SpendRestart())
            Quarantine($"its driver or core failed more than {host.Options.RestartBudget} times within {Window}, last: {cause.Message}", "fabric", readable: false);
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
                front.Tell(closed);
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
            case RecoveryStarted or RecoveryEnded when IsQuarantined || removal is not null:
                break;
            case RecoveryStarted started:
                OnRecoveryStarted(started);
                break;
            case RecoveryEnded { Recovered: true }:
                Recovered("recovered", "in service again");
                break;
            case RecoveryEnded:
                Quarantine("it did not recover from an uncorrectable error", "fabric", readable: false);
                break;
            case LostConfigRepaired repaired:
                Note("config-repaired", $"a reset had taken {repaired.Lost}; it was given back, interrupts are armed again");
                break;
            case LinkFoundDead when !IsQuarantined && climbing is null && removal is null && Status.State != DeviceState.Recovering:
                Climb("its config space reads all ones: the link is dead");
                break;
            case LinkFoundDead:
                break;
            case HardwareHung hang:
                OnHung(hang);
                break;
            case HangEnded ended:
                hung = null;
                Note("hang-ended", $"{ended.Call} came back; what it brought was thrown away");
                if (IsQuarantined)
                    Publish(Status with { WayBack = WayBack });
                break;
            case ReleaseRequested request:
                var waits = $"waits for {Status.Holder ?? "its holder"}{(request.Heard ? "" : ", who does not listen to REQ")}, asked {request.Number + 1} times in {request.Waited.TotalSeconds:0} s";
                Publish(Status with { Reason = waits });
                Note("release-requested", waits);
                break;
        }
    }

    /// <summary>A recovery, a removal or a quarantine goes on whoever comes and goes.</summary>
    private DeviceState Unless(DeviceState state) =>
        Status.State is DeviceState.Recovering or DeviceState.Quarantined or DeviceState.Removing ? Status.State : state;

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
        if (started.IsSource && !SpendFreeze())
            Quarantine($"more than {host.Options.FreezeBudget} freezes within {Window}", "fabric", readable: false);
    }

    private void Recovered(string kind, string message)
    {
        Publish(Status with { State = Status.Holder is null ? DeviceState.Closed : DeviceState.Open, Health = DeviceHealth.Healthy, Reason = null, WayBack = null });
        Note(kind, message);
    }

    private void OnHung(HardwareHung hang)
    {
        hung = hang;
        Note("hung", $"{hang.Call} has not come back for {hang.For.TotalSeconds:0.#} s");
        if (!IsQuarantined)
            Quarantine($"it hangs in {hang.Call}: not back after {hang.For.TotalSeconds:0.#} s", "fabric", readable: false);
    }

    // ---- The ladder, for this device alone -------------------------------------------------------------------------------------------

    private void Climb(string cause)
    {
        Publish(Status with { State = DeviceState.Recovering, Health = DeviceHealth.Unhealthy, Reason = cause });
        Note("recovering", cause);
        if (!SpendFreeze())
        {
            Quarantine($"more than {host.Options.FreezeBudget} freezes within {Window}", "fabric", readable: false);
            return;
        }

        climbing = Context.ActorOf(ResetLadder.Props([new RecoveryMember(Address, Self)], Address, cause, host.Options, [.. device.Function.ResetMethods]));
    }

    private void OnLadderEnded(LadderEnded ended)
    {
        if (IsQuarantined || removal is not null)
            return;
        if (ended.Recovered.Contains(Address))
            Recovered("recovered", "in service again, after a reset");
        else
            Quarantine("no rung of the reset ladder brought it back", "fabric", readable: false);
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
