using Akka.Actor;

namespace Fabric.Devices.Hardware;

/// <summary>
/// Watches the calls that a mailbox makes to hardware on its own thread. Such a call is short, or hardware has hung; then the mailbox cannot say
/// so itself, and <see cref="FenceIfOlder"/> lets another do it. Entered and left by one thread at a time, asked by another. Who waits for the
/// call is answered once: by who made it, or by who gave it up.
/// </summary>
public sealed class CallWatch(TimeProvider time)
{
    private const long Idle = 0;
    private const long Fenced = -1;

    /// <summary>Of a call under way: its asker has its answer.</summary>
    private const long Answered = 1;

    /// <summary>Idle, Fenced, or twice the timestamp at which the call under way began, with Answered or not.</summary>
    private long state;
    private object? request;
    private Asker asker;

    /// <summary>A call begins.</summary>
    public void Enter(object of, Asker by)
    {
        (request, asker) = (of, by);
        Volatile.Write(ref state, Math.Max(1, time.GetTimestamp()) << 1);
    }

    /// <summary>The call under way has been given up: its asker has been answered.</summary>
    public bool IsFenced => Volatile.Read(ref state) == Fenced;

    /// <summary>Before an answer that is given while the call is under way: false where it has been given up, and its asker been told so.</summary>
    public bool TryAnswer()
    {
        while (true)
        {
            var seen = Volatile.Read(ref state);
            if (seen == Fenced)
                return false;
            if (seen == Idle || Interlocked.CompareExchange(ref state, seen | Answered, seen) == seen)
                return true;
        }
    }

    /// <summary>The call has come back. False where it had been fenced: its asker has been answered, what it brought is thrown away.</summary>
    public bool Leave() => Interlocked.Exchange(ref state, Idle) != Fenced;

    /// <summary>Gives up a call that is older than a limit: who gets it answers its asker, Nobody where that has its answer. Null where there is none.</summary>
    public FencedCall? FenceIfOlder(TimeSpan limit)
    {
        while (true)
        {
            var seen = Volatile.Read(ref state);
            if (seen <= Idle || time.GetElapsedTime(seen >> 1) < limit)
                return null;
            var call = new FencedCall(
                request!, (seen & Answered) == 0 ? asker : new Asker(ActorRefs.Nobody, 0), time.GetElapsedTime(seen >> 1));
            // Not where it has come back meanwhile; once more where it has only been answered.
            if (Interlocked.CompareExchange(ref state, Fenced, seen) == seen)
                return call;
        }
    }
}

/// <summary>A call that was given up.</summary>
public sealed record FencedCall(object Request, Asker Asker, TimeSpan Age);

/// <summary>Who waits for an answer, and how it is addressed: directly, or as the answer to a driver's numbered call.</summary>
public readonly record struct Asker(IActorRef Requester, long Call)
{
    public void Tell(DeviceReply reply) => Requester.Tell(Call == 0 ? reply : new CoreReplied(Call, reply));
}

/// <summary>Told to the host by a mailbox that calls hardware: its calls are to be watched, for a supervisor who is told when one hangs.</summary>
internal sealed record WatchCalls(CallWatch Watch, IActorRef Supervisor) : INoSerializationVerificationNeeded;

/// <summary>
/// Told to the host when a call has come back that it had given up: by way of it, so that the supervisor hears of the hang first, and of its end
/// after that.
/// </summary>
internal sealed record CallCameBack(IActorRef Supervisor, string Call) : INoSerializationVerificationNeeded;

/// <summary>Told to the host when there are no calls to watch any more.</summary>
internal sealed record UnwatchCalls(CallWatch Watch) : INoSerializationVerificationNeeded;
