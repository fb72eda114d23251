using Akka.Actor;
using Akka.Event;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers;

/// <summary>What a driver is given when it is bound to a function.</summary>
/// <param name="Core">The core behind it; messages are the only way in.</param>
public sealed record DriverContext(PciAddress Address, PciIds Ids, IActorRef Core);

/// <summary>
/// A behaviour in front of a core. It sees every message of its device first: it handles what it registers with <c>On</c> and
/// forwards everything else untouched, so that the core answers the requester itself.
/// </summary>
public abstract class VariantDriver : UntypedActor, IWithUnboundedStash, IWithTimers
{
    /// <summary>How long the core may take to answer a driver before the driver is given up and restarted.</summary>
    protected static readonly TimeSpan CoreDeadline = TimeSpan.FromSeconds(10);

    /// <summary>Of all drivers: a restarted one must not take an answer to its forerunner's question for one to its own.</summary>
    private static long lastCall;

    private readonly Dictionary<Type, Handler> handlers = [];
    private readonly IActorRef core;
    private PendingCall? pending;
    private bool answered = true;
    private Exception? failure;
    private bool restarting;

    protected VariantDriver(DriverContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        core = context.Core;
        Address = context.Address;
    }

    private sealed record Handler(Func<DeviceRequest, bool> When, Action<DeviceRequest> Handle);

    private sealed record PendingCall(long Number, Action<DeviceReply> Then, string What);

    private sealed record CoreDeadlinePassed(long Number);

    public IStash Stash { get; set; } = null!;

    public ITimerScheduler Timers { get; set; } = null!;

    protected PciAddress Address { get; }

    /// <summary>Who is waiting for an answer to the request in hand.</summary>
    protected IActorRef Requester { get; private set; } = ActorRefs.Nobody;

    /// <summary>Takes over a request. Register in the constructor; a request nobody takes over goes to the core.</summary>
    protected void On<T>(Action<T> handle)
        where T : DeviceRequest => On(static _ => true, handle);

    /// <summary>Takes over those requests of a kind for which a condition holds; the others go to the core.</summary>
    protected void On<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest => handlers.Add(typeof(T), new Handler(request => when((T)request), request => handle((T)request)));

    /// <summary>The session ended, by its holder's will or death: what the driver keeps for it is of no use any more.</summary>
    protected virtual void OnSessionClosed(SessionId session)
    {
    }

    protected void Reply(DeviceReply reply)
    {
        answered = true;
        Requester.Tell(reply);
    }

    protected void Reply(VfioResult result) => Reply(result.IsOk ? DeviceDone.Instance : new DeviceFailed(result.Error));

    /// <summary>
    /// Asks the core and goes on with its answer. Until then everything else waits its turn: a session keeps its order, and a reset that
    /// comes during a transition is applied right after it (MG-36).
    /// </summary>
    /// <exception cref="InvalidOperationException">The driver is asking the core already: ask again in what goes on with its answer.</exception>
    protected void AskCore(DeviceRequest request, Action<DeviceReply> then)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (pending is not null)
            throw new InvalidOperationException($"The driver asked the core for {request.GetType().Name} while {pending.What} was not answered.");
        pending = new PendingCall(Interlocked.Increment(ref lastCall), then, request.GetType().Name);
        Timers.StartSingleTimer(nameof(CoreDeadlinePassed), new CoreDeadlinePassed(pending.Number), CoreDeadline);
        core.Tell(new CoreCall(pending.Number, request));
    }

    /// <summary>Tells the supervisor what happened, for the device's history.</summary>
    protected static void Record(DeviceFact fact) => Context.Parent.Tell(fact);

    protected sealed override void OnReceive(object message)
    {
        try
        {
            Dispatch(message);
        }
        catch (Exception cause)
        {
            // Told when the supervisor has decided, so that what its requester does next meets what became of the device.
            failure = cause;
            throw;
        }
    }

    private void Dispatch(object message)
    {
        switch (message)
        {
            case CoreReplied replied when pending is { } call && replied.Number == call.Number:
                pending = null;
                Timers.Cancel(nameof(CoreDeadlinePassed));
                call.Then(replied.Reply);
                if (pending is null)
                    Stash.UnstashAll();
                break;
            case CoreReplied late:
                Context.GetLogger().Debug("{0}: the core answered call {1} after its deadline; dropped", Address, late.Number);
                break;
            case CoreDeadlinePassed passed when pending is { } call && passed.Number == call.Number:
                throw new TimeoutException($"{Address}: the core did not answer {call.What} within {CoreDeadline.TotalSeconds} s.");
            case CoreDeadlinePassed:
                break;
            case DeviceRequest or SessionClosed when pending is not null:
                Stash.Stash();
                break;
            case SessionClosed closed:
                OnSessionClosed(closed.Session);
                break;
            case DeviceRequest request when handlers.TryGetValue(request.GetType(), out var handler):
                Handle(request, handler);
                break;
            default:
                core.Forward(message);
                break;
        }
    }

    private void Handle(DeviceRequest request, Handler handler)
    {
        (Requester, answered) = (Sender, false);
        if (handler.When(request))
        {
            handler.Handle(request);
            return;
        }

        answered = true;
        core.Forward(request);
    }

    protected override void PreRestart(Exception reason, object message)
    {
        restarting = true;
        base.PreRestart(reason, message);
    }

    /// <summary>
    /// Whoever waits for an answer that cannot come any more is told so, once. Those who wait their turn are served after a restart.
    /// </summary>
    protected override void PostStop()
    {
        if (failure is not null)
            Refuse(Errno.EIO, $"The driver of {Address} failed: {failure.Message} Ask for the device's state and reset it.");
        else if (pending is not null)
            Refuse(Errno.ENODEV, Gone);
        if (!restarting)
        {
            foreach (var waiting in Stash.ClearStash().Where(waiting => waiting.Message is DeviceRequest))
                waiting.Sender.Tell(new DeviceFailed(new VfioError(Errno.ENODEV, Gone)));
        }

        base.PostStop();
    }

    private string Gone => $"The driver of {Address} was stopped; ask the host for the device again.";

    private void Refuse(Errno errno, string sentence)
    {
        if (!answered)
            Reply(new DeviceFailed(new VfioError(errno, sentence)));
    }
}
