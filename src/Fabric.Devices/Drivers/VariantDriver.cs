using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Drivers;

/// <summary>What a driver is given when it is bound to a function.</summary>
/// <param name="Core">The core behind it; messages are the only way in.</param>
public sealed record DriverContext(PciAddress Address, PciIds Ids, IActorRef Core)
{
    /// <summary>The host's clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Who watches calls to hardware; Nobody in a test of a driver alone.</summary>
    internal IActorRef Host { get; init; } = ActorRefs.Nobody;
}

/// <summary>
/// A behaviour in front of a core. It sees every message of its device first: it handles what it registers with <c>On</c> and
/// forwards everything else untouched, so that the core answers the requester itself.
/// </summary>
public abstract class VariantDriver : UntypedActor, IWithUnboundedStash
{
    /// <summary>How long the core may take to answer a driver before the driver is given up and restarted.</summary>
    protected static readonly TimeSpan CoreDeadline = TimeSpan.FromSeconds(10);

    /// <summary>Of all drivers: a restarted one must not take an answer to its forerunner's question for one to its own.</summary>
    private static long lastCall;

    private readonly Dictionary<Type, Handler> handlers = [];
    private readonly IActorRef core;
    private readonly IActorRef host;
    private readonly CallWatch watch;
    private PendingCall? pending;
    private bool answered = true;
    private Exception? failure;
    private bool restarting;
    private bool isWatched;
    private VfioError? standing;
    private bool opensOnly;

    protected VariantDriver(DriverContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        (core, host) = (context.Core, context.Host);
        watch = new CallWatch(context.Time);
        Address = context.Address;
    }

    private sealed record Handler(Func<DeviceRequest, bool> When, Action<DeviceRequest> Handle);

    private sealed record PendingCall(long Number, Action<DeviceReply> Then, string What, ICancelable Deadline);

    private sealed record CoreDeadlinePassed(long Number);

    public IStash Stash { get; set; } = null!;

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

    /// <summary>
    /// The function was reset, and the driver had not asked for it: by the host, by a write to config space, with its set. Whatever migration was
    /// under way is over (MG-34). An error says that nothing was reset.
    /// </summary>
    protected virtual void OnFunctionReset(VfioResult outcome)
    {
    }

    /// <summary>The driver's own state, to be read; the kit adds what is its own.</summary>
    protected virtual ImmutableArray<InspectNode> InspectOwn() => [];

    protected void Reply(DeviceReply reply)
    {
        answered = true;
        if (watch.TryAnswer())
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
        var number = Interlocked.Increment(ref lastCall);
        pending = new PendingCall(
            number, then, request.GetType().Name,
            Context.System.Scheduler.ScheduleTellOnceCancelable(CoreDeadline, Self, new CoreDeadlinePassed(number), Self));
        core.Tell(new CoreCall(pending.Number, request));
    }

    /// <summary>Tells the supervisor what happened, for the device's history.</summary>
    protected static void Record(DeviceFact fact) => Context.Parent.Tell(fact);

    protected override void PreStart() => core.Tell(DriverAttached.Instance);

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
                call.Deadline.Cancel();
                Watched(call.What, Waiting, () => call.Then(replied.Reply));
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
            case DeviceRequest or SessionClosed or FunctionWasReset when pending is not null && !IsFenced:
                Stash.Stash();
                break;
            case SessionClosed closed:
                Watched("the end of a session", ActorRefs.Nobody, () => OnSessionClosed(closed.Session));
                break;
            case FenceDevice fence:
                (standing, opensOnly) = (fence.Standing, fence.OpensOnly);
                if (standing is not null && !opensOnly)
                    Stash.UnstashAll();
                break;
            case InspectPart:
                Watched("inspection", ActorRefs.Nobody, () => Sender.Tell(new PartInspected(Inspect())));
                break;
            case FunctionWasReset reset:
                Watched("what follows a reset", ActorRefs.Nobody, () => OnFunctionReset(reset.Outcome));
                break;
            case RecoveryCallback when IsFenced:
                Sender.Tell(new RecoveryVoted(RecoveryVote.None));
                break;
            case DeviceRequest when standing is { } refusal && (IsFenced || message is OpenDevice):
                Sender.Tell(new DeviceFailed(refusal));
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
            Watched(request.GetType().Name, Waiting, () => handler.Handle(request));
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

        pending?.Deadline.Cancel();
        if (isWatched)
            host.Tell(new UnwatchCalls(watch));
        base.PostStop();
    }

    private bool IsFenced => standing is not null && !opensOnly;

    private InspectNode Inspect() => InspectNode.Tree(
        "driver",
        [
            InspectNode.Leaf("type", GetType().Name),
            InspectNode.Leaf("takes over", string.Join(", ", handlers.Keys.Select(static taken => taken.Name))),
            InspectNode.Leaf("asks the core for", pending?.What ?? "nothing"),
            InspectNode.Leaf("standing refusal", standing?.ToString() ?? "none"),
            .. InspectOwn(),
        ]);

    /// <summary>
    /// What a driver does with mapped registers it does on this thread: the host sees when it does not come back. Its requester has been
    /// answered then.
    /// </summary>
    /// <param name="by">Who is told when it hangs.</param>
    private void Watched(string what, IActorRef by, Action call)
    {
        if (host.IsNobody())
        {
            call();
            return;
        }

        if (!isWatched)
            host.Tell(new WatchCalls(watch, Context.Parent));
        isWatched = true;
        watch.Enter(what, new Asker(by, 0));
        try
        {
            call();
        }
        finally
        {
            if (!watch.Leave())
            {
                // Told by who gave it up: nothing that the driver does later is an answer to it.
                if (!by.IsNobody())
                    (Requester, answered) = (ActorRefs.Nobody, true);
                Context.Parent.Tell(new HangEnded(what, TimeSpan.Zero));
            }
        }
    }

    private IActorRef Waiting => answered ? ActorRefs.Nobody : Requester;

    private string Gone => $"The driver of {Address} was stopped; ask the host for the device again.";

    private void Refuse(Errno errno, string sentence)
    {
        if (!answered)
            Reply(new DeviceFailed(new VfioError(errno, sentence)));
    }
}
