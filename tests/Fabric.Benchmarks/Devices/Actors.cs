using System.Diagnostics;
using Akka.Actor;
using Fabric.Devices;

namespace Fabric.Benchmarks.Devices;

/// <summary>What the empty actor is asked and answers: nothing.</summary>
internal sealed record Nothing : INoSerializationVerificationNeeded;

/// <summary>Answers with what it is sent.</summary>
internal sealed class EmptyActor : UntypedActor
{
    protected override void OnReceive(object message) => Sender.Tell(message);
}

internal sealed class ForwardingActor(IActorRef target) : UntypedActor
{
    protected override void OnReceive(object message) => target.Forward(message);
}

/// <summary>Who is asked, and what. A request is made for each asking, as a holder would.</summary>
internal sealed record Contender(string Name, IActorRef Target, Func<object> Request)
{
    public static void Check(object reply)
    {
        if (reply is DeviceFailed failed)
            throw new InvalidOperationException($"A request failed, so that something else was measured: {failed.Error}");
    }
}

/// <summary>So many requests: how long one took on average, and what it made the process allocate.</summary>
internal readonly record struct Measured(double Nanoseconds, double Bytes)
{
    public static Measured Of(int count, TimeSpan took, long allocated) => new(took.TotalNanoseconds / count, (double)allocated / count);
}

/// <summary>One Ask after the other.</summary>
internal static class Sequential
{
    public static async Task<Measured> MeasureAsync(Contender contender, int count)
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < count; i++)
            Contender.Check(await contender.Target.Ask<object>(contender.Request()).ConfigureAwait(false));
        var took = Stopwatch.GetElapsedTime(began);
        return Measured.Of(count, took, GC.GetTotalAllocatedBytes(precise: true) - before);
    }
}

/// <summary>Keeps so many requests under way until all are answered.</summary>
internal sealed class WindowActor : UntypedActor
{
    private Run run = null!;
    private int unsent;
    private int unanswered;

    private sealed record Run(Contender Contender, int Count, int Window, TaskCompletionSource Done);

    public static async Task<Measured> MeasureAsync(IActorRef requester, Contender contender, int count, int window)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var before = GC.GetTotalAllocatedBytes(precise: true);
        var began = Stopwatch.GetTimestamp();
        requester.Tell(new Run(contender, count, window, done), ActorRefs.NoSender);
        await done.Task.ConfigureAwait(false);
        var took = Stopwatch.GetElapsedTime(began);
        return Measured.Of(count, took, GC.GetTotalAllocatedBytes(precise: true) - before);
    }

    protected override void OnReceive(object message)
    {
        if (message is Run next)
        {
            (run, unsent, unanswered) = (next, next.Count, next.Count);
            for (var i = 0; i < next.Window; i++)
                Send();
            return;
        }

        Answered(message);
    }

    private void Answered(object reply)
    {
        try
        {
            Contender.Check(reply);
        }
        catch (InvalidOperationException failed)
        {
            run.Done.TrySetException(failed);
        }

        if (--unanswered == 0)
            run.Done.TrySetResult();
        else if (unsent > 0)
            Send();
    }

    private void Send()
    {
        unsent--;
        run.Contender.Target.Tell(run.Contender.Request());
    }
}
