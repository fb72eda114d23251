using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Drivers;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>
/// Owns one function: its chain (driver in front of core), its restarts, its history. A driver that throws is restarted alone, the core keeps
/// its state. A core that throws is a failed device: it is reset and probed anew, its session ends. Both are budgeted; past the budget the
/// device is quarantined. It is the device's address: a chain that was made anew is found where the old one was.
/// </summary>
public sealed class DeviceSupervisor : UntypedActor, IWithUnboundedStash
{
    private const int RestartBudget = 5;
    private const int HistoryLength = 32;
    private static readonly TimeSpan BudgetWindow = TimeSpan.FromHours(1);

    private readonly IPciFunction function;
    private readonly DriverRegistration? registration;
    private readonly TimeProvider time;
    private readonly Queue<DateTimeOffset> restarts = new();
    private readonly long firstSession;
    private DeviceStatus status;
    private IActorRef core = ActorRefs.Nobody;
    private IActorRef front = ActorRefs.Nobody;
    private int incarnation;
    private bool coreDown;
    private string quarantinedFor = "";

    public DeviceSupervisor(IPciFunction function, DriverRegistration? registration, DeviceStatus initial, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(time);
        this.function = function;
        this.registration = registration;
        this.time = time;
        status = initial;
        // Numbers of an earlier life of this process must not match either.
        firstSession = time.GetUtcNow().ToUnixTimeMilliseconds() << 16;
    }

    public IStash Stash { get; set; } = null!;

    private bool Quarantined => status.State == DeviceState.Quarantined;

    public static Props Props(IPciFunction function, DriverRegistration? registration, DeviceStatus initial, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new DeviceSupervisor(function, registration, initial, time));

    protected override void PreStart()
    {
        Probe();
        Note("probed", $"driver {status.Driver ?? "none (core alone)"}");
    }

    /// <summary>A restart starts with no children: the core's own state is gone, and the function with it (reset at the next open).</summary>
    protected override void PostRestart(Exception reason) => PreStart();

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(
        maxNrOfRetries: -1,
        withinTimeRange: Timeout.InfiniteTimeSpan,
        localOnlyDecider: cause => Sender.Equals(core) ? CoreFailed(cause) : DriverFailed(cause));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case FindDevice:
                Sender.Tell(Quarantined ? OutOfService : new DeviceFound(Self, status));
                break;
            case RecoveryCallback when Quarantined:
                // Its channel failed for good: no opinion, so that its neighbours can recover without it (contract §4.3, step 2).
                Sender.Tell(new RecoveryVoted(RecoveryVote.None));
                break;
            case DeviceRequest when Quarantined:
                Sender.Tell(OutOfService);
                break;
            case DeviceRequest when coreDown:
                Stash.Stash();
                break;
            case DeviceRequest request:
                front.Forward(request);
                break;
            case DeviceFact fact:
                Apply(fact);
                break;
            case Terminated gone when gone.ActorRef.Equals(core):
                ProbeAnew();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private DeviceFailed OutOfService =>
        new(new VfioError(Errno.EIO, $"{function.Address} is out of service: {quarantinedFor}. It stays so until the daemon starts again."));

    private void Probe()
    {
        incarnation++;
        coreDown = false;
        core = Context.ActorOf(VfioPciCoreActor.Props(function, firstSession + ((long)incarnation << 32)), $"core-{incarnation}");
        Context.Watch(core);
        var context = new DriverContext(function.Address, function.Ids, core);
        front = Context.ActorOf(registration?.Create(context) ?? PassthroughDriver.Props(context), $"driver-{incarnation}");
        Publish(status with { State = DeviceState.Closed, Health = DeviceHealth.Healthy, Holder = null, Migration = registration is null ? null : MigrationState.Running });
    }

    private Directive DriverFailed(Exception cause)
    {
        Context.GetLogger().Error(cause, "{0}: driver {1} failed", function.Address, status.Driver);
        if (SpendRestart())
        {
            Note("driver-restarted", $"the driver failed: {cause.Message}");
            return Directive.Restart;
        }

        Quarantine($"the driver failed more than {RestartBudget} times within an hour, last: {cause.Message}");
        return Directive.Stop;
    }

    private Directive CoreFailed(Exception cause)
    {
        Context.GetLogger().Error(cause, "{0}: core failed", function.Address);
        coreDown = true;
        Note("core-failed", cause.Message);
        return Directive.Stop;
    }

    private void ProbeAnew()
    {
        if (Quarantined)
            return;
        if (!SpendRestart())
        {
            Quarantine($"the core failed more than {RestartBudget} times within an hour");
            return;
        }

        Context.Stop(front);
        var reset = function.Reset(function.ResetMethods[0]);
        Note("reset", reset.IsOk ? "function reset after a failure of the core" : $"function reset failed: {reset.Error}");
        Probe();
        Note("probed", "anew, after a failure of the core");
        Stash.UnstashAll();
    }

    private bool SpendRestart()
    {
        var now = time.GetUtcNow();
        while (restarts.TryPeek(out var oldest) && now - oldest > BudgetWindow)
            restarts.Dequeue();
        restarts.Enqueue(now);
        return restarts.Count <= RestartBudget;
    }

    private void Quarantine(string why)
    {
        Context.Stop(front);
        Context.Stop(core);
        quarantinedFor = why;
        Publish(status with { State = DeviceState.Quarantined, Health = DeviceHealth.Unhealthy, Holder = null });
        Note("quarantined", why);
        Stash.UnstashAll();
    }

    private void Apply(DeviceFact fact)
    {
        switch (fact)
        {
            case SessionOpened opened:
                Publish(status with { State = InService(DeviceState.Open), Holder = opened.Holder });
                Note("opened", $"by {opened.Holder}");
                break;
            case SessionClosed closed:
                front.Tell(closed);
                Publish(status with { State = InService(DeviceState.Closed), Holder = null, Migration = registration is null ? null : MigrationState.Running });
                Note("closed", $"{closed.Holder}: {closed.Why}");
                break;
            case FunctionReset reset:
                Note("reset", $"{(reset.Worked ? "done" : "failed")}, {reset.Why}");
                break;
            case MigrationStateChanged changed:
                Publish(status with { Migration = changed.State });
                break;
            case ErrorReported error:
                Note("error", $"{error.Severity} error, status 0x{error.Status:x8}");
                break;
            case RecoveryStarted or RecoveryEnded when Quarantined:
                break;
            case RecoveryStarted started:
                Publish(status with { State = DeviceState.Recovering, Health = DeviceHealth.Unhealthy });
                Note("recovering", $"from a {started.Severity} error");
                break;
            case RecoveryEnded { Recovered: true }:
                Publish(status with { State = status.Holder is null ? DeviceState.Closed : DeviceState.Open, Health = DeviceHealth.Healthy });
                Note("recovered", "in service again");
                break;
            case RecoveryEnded:
                Quarantine("not recovered from an uncorrectable error");
                break;
        }
    }

    /// <summary>A recovery or a quarantine goes on whoever comes and goes.</summary>
    private DeviceState InService(DeviceState state) =>
        status.State is DeviceState.Recovering or DeviceState.Quarantined ? status.State : state;

    private void Note(string kind, string message)
    {
        var history = status.History.Add(new DeviceHistoryEntry(time.GetUtcNow(), kind, message));
        if (history.Length > HistoryLength)
            history = history.RemoveAt(0);
        Publish(status with { History = history });
    }

    private void Publish(DeviceStatus changed)
    {
        status = changed;
        Context.Parent.Tell(new DeviceStatusChanged(changed));
    }
}
