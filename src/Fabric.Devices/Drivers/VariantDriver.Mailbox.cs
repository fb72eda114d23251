using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Hardware;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Drivers;

/// <summary>The mailbox behind the kit's words: turns, deadlines, fences, and one answer to each request whatever the driver does.</summary>
public abstract partial class VariantDriver
{
    /// <summary>Of all drivers: a restarted one must not take an answer to its forerunner's question for one to its own.</summary>
    private static long lastCall;

    private static readonly Asker Nobody = new(ActorRefs.Nobody, 0);

    private CallWatch? watch;

    /// <summary>Null in a driver that has taken over nothing yet.</summary>
    private RequestInHand? hand;
    private PendingCall? pending;
    private Exception? failure;
    private bool restarting;

    /// <summary>What it is fenced with; null where it is not.</summary>
    private FenceDevice? fence;

    /// <summary>What has become of the request in hand.</summary>
    private enum InHand
    {
        /// <summary>There is none, or it has its answer.</summary>
        Settled,
        Unanswered,

        /// <summary>Its requester was told that the driver hangs: what the driver does about it later is dropped.</summary>
        GivenUp,
    }

    private sealed class RequestInHand
    {
        public Asker Requester { get; set; } = Nobody;

        public DeviceRequest? Request { get; set; }

        public InHand State { get; set; }

        /// <summary>A session that the core opened for it, whose requester does not know of it; the default where there is none.</summary>
        public SessionId Untold { get; set; }
    }

    private sealed record PendingCall(long Number, Action<object?> Then, string What, ICancelable Deadline);

    private sealed record CoreDeadlinePassed(long Number);

    private sealed record DelayPassed(long Number);

    protected override void PreStart() => Core.Tell(DriverAttached.Instance);

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
            case DeviceRequest request:
                Serve(request, 0);
                break;
            case CoreCall call:
                Serve(call.Request, call.Number);
                break;
            case CoreReplied replied when pending is { } call && replied.Number == call.Number:
                GoOn(call, replied.Reply);
                break;
            case CoreReplied late:
                Context.GetLogger().Debug("{0}: the core answered call {1} after its deadline; dropped", Address, late.Number);
                CloseUntold((late.Reply as DeviceOpened)?.Session ?? default);
                break;
            case DelayPassed passed when pending is { } call && passed.Number == call.Number:
                GoOn(call, null);
                break;
            case CoreDeadlinePassed passed when pending is { } call && passed.Number == call.Number:
                throw new TimeoutException($"{Address}: the core did not answer {call.What} within {context.CoreDeadline.TotalSeconds} s.");
            case CoreDeadlinePassed or DelayPassed:
                break;
            case FunctionWasReset or DriverMessage when pending is not null:
            // Not of one that is out of service: whatever it waits for is nobody's any more.
            case SessionClosed when pending is not null && !IsFenced:
                Stash.Stash();
                break;
            case SessionClosed closed:
                Watched("the end of a session", Nobody, closed, EndSession);
                break;
            case FunctionWasReset reset:
                Watched("what follows a reset", Nobody, reset.Outcome, OnFunctionReset);
                break;
            case DriverMessage own:
                Watched(own.GetType().Name, Nobody, own, OnOwnMessage);
                break;
            case FenceDevice fenced:
                fence = fenced.Standing is null ? null : fenced;
                if (IsFenced)
                    Stash.UnstashAll();
                break;
            case InspectPart:
                Watched("inspection", Nobody, Sender, asker => asker.Tell(new PartInspected(Inspect())));
                break;
            default:
                Core.Forward(message);
                break;
        }
    }

    /// <param name="call">The number of a question by a driver in front; 0 where it comes from outside.</param>
    private void Serve(DeviceRequest request, long call)
    {
        if (fence is { Standing: { } refusal } && (IsFenced ? request is not SetVirtualFunctions : request is OpenDevice))
        {
            new Asker(Sender, call).Tell(request is RecoveryCallback ? new RecoveryVoted(RecoveryVote.None) : new DeviceFailed(refusal));
            return;
        }

        if (pending is not null)
        {
            Stash.Stash();
            return;
        }

        var handler = handlers?.GetValueOrDefault(request.GetType());
        if (handler is null && added?.Observer is null)
        {
            if (hand is not null)
                hand.State = InHand.Settled;
            Core.Tell(call == 0 ? request : new CoreCall(call, request), Sender);
            return;
        }

        hand ??= new RequestInHand();
        (hand.Requester, hand.Request, hand.State, hand.Untold) = (new Asker(Sender, call), request, InHand.Unanswered, default);
        Watched(request.GetType().Name, Waiting, handler, Take);
        SeeThatItIsAnswered();
    }

    private void Take(Handler? handler)
    {
        added?.Observer?.Invoke(hand!.Request!);
        while (handler is not null && !handler.When(hand!.Request!))
            handler = handler.Next;
        if (handler is null)
            Forward();
        else
            handler.Handle(hand!.Request!);
    }

    private void EndSession(SessionClosed closed)
    {
        if (closed.IsLast)
            ReleaseRegions();
        OnSessionClosed(closed.Session);
    }

    private long Wait(string what, TimeSpan limit, Action<object?> then, Func<long, object> over)
    {
        if (pending is not null)
            throw new InvalidOperationException($"The driver would wait for {what} while it waits for {pending.What}.");
        var number = Interlocked.Increment(ref lastCall);
        pending = new PendingCall(number, then, what, Context.System.Scheduler.ScheduleTellOnceCancelable(limit, Self, over(number), Self));
        return number;
    }

    private void GoOn(PendingCall call, object? with)
    {
        pending = null;
        call.Deadline.Cancel();
        if (with is DeviceOpened opened && hand is { Request: OpenDevice })
            hand.Untold = opened.Session;
        Watched(call.What, Waiting, with, call.Then);
        SeeThatItIsAnswered();
        if (pending is null)
            Stash.UnstashAll();
    }

    /// <summary>False where what the driver does with the request in hand is dropped.</summary>
    private bool TrySettle()
    {
        switch (hand?.State)
        {
            case InHand.Unanswered:
                hand.State = InHand.Settled;
                return watch?.TryAnswer() != false;
            case InHand.GivenUp:
                return false;
            default:
                throw new InvalidOperationException($"The driver answered {hand?.Request?.GetType().Name ?? "a request"} twice, or nobody asked.");
        }
    }

    /// <summary>A driver that has let a request go unanswered is told apart from one that failed: its requester need not wait. Votes have deadlines.</summary>
    private void SeeThatItIsAnswered()
    {
        if (hand is not { State: InHand.Unanswered, Request: not RecoveryCallback } || pending is not null)
            return;
        var what = hand.Request!.GetType().Name;
        Reply(new DeviceFailed(Errno.EIO, $"The driver of {Address} did not answer {what}; this is a fault of the driver ({GetType().Name})."));
        Record(new DriverFault($"{GetType().Name} did not answer {what}"));
    }

    /// <summary>Nobody would ever close it.</summary>
    private void CloseUntold(SessionId session)
    {
        if (session != default)
            Core.Tell(new CloseDevice(session), ActorRefs.NoSender);
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
            foreach (var waiting in Stash.ClearStash())
                Refuse(waiting);
        }

        pending?.Deadline.Cancel();
        if (watch is not null)
            Host.Tell(new UnwatchCalls(watch));
        base.PostStop();
    }

    private IActorRef Core => context.Core;

    private IActorRef Host => context.Host;

    private bool IsFenced => fence is { OpensOnly: false };

    private InspectNode Inspect() => InspectNode.Tree(
        "driver",
        [
            InspectNode.Leaf("type", GetType().Name),
            InspectNode.Leaf("takes over", string.Join(", ", handlers?.Keys.Select(static taken => taken.Name) ?? [])),
            InspectNode.Leaf("waits for", pending?.What ?? "nothing"),
            InspectNode.Leaf("standing refusal", fence?.Standing?.ToString() ?? "none"),
            .. InspectOwn(),
        ]);

    /// <summary>
    /// What a driver does with mapped registers it does on this thread: the host sees when it does not come back. Its requester has been
    /// answered then.
    /// </summary>
    /// <param name="by">Who is told when it hangs.</param>
    private void Watched<T>(string what, Asker by, T with, Action<T> call)
    {
        if (Host.IsNobody())
        {
            call(with);
            return;
        }

        if (watch is null)
            Host.Tell(new WatchCalls(watch = new CallWatch(context.Time), Context.Parent));
        watch.Enter(what, by);
        try
        {
            call(with);
        }
        finally
        {
            if (!watch.Leave())
            {
                // Told by who gave it up: nothing that the driver does later is an answer to it.
                if (!by.Requester.IsNobody())
                    hand!.State = InHand.GivenUp;
                Host.Tell(new CallCameBack(Context.Parent, what));
            }
        }
    }

    private Asker Waiting => hand is { State: InHand.Unanswered } ? hand.Requester : Nobody;

    private string Gone => $"The driver of {Address} was stopped; ask the host for the device again.";

    private void Refuse(Errno errno, string sentence)
    {
        if (hand is { State: InHand.Unanswered })
            Reply(new DeviceFailed(new VfioError(errno, sentence)));
    }

    private void Refuse(Envelope waiting)
    {
        Asker? asker = waiting.Message switch
        {
            DeviceRequest => new Asker(waiting.Sender, 0),
            CoreCall call => new Asker(waiting.Sender, call.Number),
            _ => null,
        };
        asker?.Tell(new DeviceFailed(new VfioError(Errno.ENODEV, Gone)));
    }
}
