namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>Time that passes only when nothing is left to do; the same for all nodes. What is due at the same moment happens in the order in which it was asked for.</summary>
internal sealed class VirtualClock
{
    private static readonly DateTimeOffset Epoch = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly PriorityQueue<Action, (TimeSpan At, long Order)> due = new();
    private long order;

    /// <summary>Since the run began.</summary>
    public TimeSpan Now { get; private set; }

    public DateTimeOffset UtcNow => Epoch + Now;

    public void After(TimeSpan delay, Action what) => due.Enqueue(what, (Now + (delay > TimeSpan.Zero ? delay : TimeSpan.Zero), order++));

    /// <summary>Does what is due next, if it is due before the limit; else the limit is now.</summary>
    public bool Advance(TimeSpan limit)
    {
        if (!due.TryPeek(out var what, out var key) || key.At > limit)
        {
            Now = limit;
            return false;
        }

        due.Dequeue();
        Now = key.At;
        what();
        return true;
    }

    /// <summary>A new run: nothing is due, and no time has passed.</summary>
    public void Reset()
    {
        due.Clear();
        (Now, order) = (TimeSpan.Zero, 0);
    }
}
