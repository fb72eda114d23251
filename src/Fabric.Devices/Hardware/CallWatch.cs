using Akka.Actor;

namespace Fabric.Devices.Hardware;

/// <summary>
/// Watches the calls that a mailbox makes to hardware on its own thread. Such a call is short, or hardware has hung; then the mailbox cannot say
/// so itself, and <see cref="FenceIfOlder"/> lets another do it. Entered and left by one thread at a time, asked by another.
/// </summary>
public sealed class CallWatch(TimeProvider time)
{
    private const long Idle = 0;
    private const long Fenced = -1;

    private long state;
    private object? request;
    private Asker asker;

    /// <summary>A call begins.</summary>
    public void Enter(object of, Asker by)
    {
        (request, asker) = (of, by);
        Volatile.Write(ref state, Math.Max(1, time.GetTimestamp()));
    }

    /// <summary>The call under way has been given up: its asker has been answered.</summary>
    public bool IsFenced => Volatile.Read(ref state) == Fenced;

    /// <summary>The call has come back. False where it had been fenced: its asker has been answered, what it brought is thrown away.</summary>
    public bool Leave() => Interlocked.Exchange(ref state, Idle) != Fenced;

    /// <summary>Gives up a call that is older than a limit: who gets it answers its asker. Null where there is none.</summary>
    public FencedCall? FenceIfOlder(TimeSpan limit)
    {
        var began = Volatile.Read(ref state);
        if (began <= Idle || time.GetElapsedTime(began) < limit)
            return null;
        var call = new FencedCall(request!, asker, time.GetElapsedTime(began));
        return Interlocked.CompareExchange(ref state, Fenced, began) == began ? call : null;
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

/// <summary>Told to the host when there are no calls to watch any more.</summary>
internal sealed record UnwatchCalls(CallWatch Watch) : INoSerializationVerificationNeeded;
