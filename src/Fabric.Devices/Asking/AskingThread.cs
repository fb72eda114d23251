using Akka.Actor;
using Akka.Dispatch;

namespace Fabric.Devices.Asking;

/// <summary>
/// A thread of somebody's own who asks devices and has nothing else to do meanwhile: the mailboxes that his question passes run on it, so that
/// nothing has to be woken up. What he asks are the device's ordinary messages, by way of its whole chain. His code goes on after
/// <see cref="Pump"/>, or on another thread where the answer comes from there. Of a call that does not come back the answer comes so too,
/// from who gave it up, and <c>overtaken</c> is told: this thread may never come back, and another one has to do what it did.
/// </summary>
/// <param name="overtaken">Called once at most, on the thread that the answer came from.</param>
public sealed class AskingThread(Action<AskingThread> overtaken)
{
    private const int Idle = 0;
    private const int InCall = 1;
    private const int Overtaken = 2;

    [ThreadStatic]
    private static AskingThread? current;

    private readonly Queue<(IRunnable Run, MessageDispatcher Otherwise)> due = new();
    private Question? asked;
    private Question? answered;
    private Question? free;
    private int state;

    /// <summary>What the calling thread is; null for every thread that is none.</summary>
    internal static AskingThread? Current => current;

    /// <summary>Makes the calling thread one, until it ends.</summary>
    public void Enter() => current = this;

    /// <summary>
    /// Does what is due for what was asked. What is not, because others sent it, goes where it always does. False where this thread has been
    /// overtaken: it does nothing more.
    /// </summary>
    public bool Pump()
    {
        var isMine = true;
        while (isMine)
        {
            if (answered is { } told)
            {
                answered = null;
                told.Complete();
            }
            else if (asked is { IsOpen: true } && TryNext(out var next))
            {
                isMine = Call(next.Run);
            }
            else
            {
                break;
            }
        }

        GiveAway();
        if (isMine)
            asked?.Await();
        else
            current = null;
        asked = null;
        return isMine;
    }

    internal void Take(IRunnable run, MessageDispatcher otherwise)
    {
        lock (due)
        {
            if (Volatile.Read(ref state) != Overtaken)
            {
                due.Enqueue((run, otherwise));
                return;
            }
        }

        otherwise.Schedule(run);
    }

    /// <summary>One question at a time is made of what the one before it was made of.</summary>
    internal ValueTask<DeviceReply> AskAsync(IActorRef front, DeviceRequest request, TimeSpan deadline)
    {
        asked = Interlocked.Exchange(ref free, null) ?? new Question(this, ((IInternalActorRef)front).Provider);
        var reply = asked.Open(deadline);
        front.Tell(request, asked);
        return reply;
    }

    /// <summary>A question has its answer. The code that waits for it goes on outside of every mailbox.</summary>
    internal void Answer(Question question)
    {
        if (ReferenceEquals(current, this) && ReferenceEquals(asked, question))
        {
            answered = question;
            return;
        }

        ThreadPool.UnsafeQueueUserWorkItem(question, preferLocal: false);
        if (Interlocked.CompareExchange(ref state, Overtaken, InCall) != InCall)
            return;
        // Others of the chain are not to wait for a call that may never come back.
        GiveAway();
        overtaken(this);
    }

    /// <summary>A question that nobody can answer any more may be asked again.</summary>
    internal void Return(Question question) => Volatile.Write(ref free, question);

    private bool TryNext(out (IRunnable Run, MessageDispatcher Otherwise) next)
    {
        lock (due)
            return due.TryDequeue(out next);
    }

    private void GiveAway()
    {
        while (TryNext(out var left))
            left.Otherwise.Schedule(left.Run);
    }

    private bool Call(IRunnable run)
    {
        Volatile.Write(ref state, InCall);
        run.Run();
        return Interlocked.CompareExchange(ref state, Idle, InCall) == InCall;
    }
}
