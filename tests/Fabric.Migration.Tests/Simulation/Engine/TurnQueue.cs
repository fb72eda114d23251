using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Dispatch;

namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>
/// The mailboxes of one node that have something, each for one message: whoever drives the simulation chooses which is next, and on its own
/// thread. A node that stands still keeps its queue.
/// </summary>
internal sealed class TurnQueue(string id) : ExecutorService(id)
{
    private readonly List<IRunnable> turns = [];

    public bool StandsStill { get; set; }

    public int Count => StandsStill ? 0 : turns.Count;

    public override void Execute(IRunnable run) => turns.Add(run);

    public override void Shutdown()
    {
    }

    /// <summary>Gives the mailbox that has waited longest its turn.</summary>
    public void TakeFirst()
    {
        var turn = turns[0];
        turns.RemoveAt(0);
        turn.Run();
    }

    /// <summary>Gives one mailbox its turn.</summary>
    public void Take(int index)
    {
        var turn = turns[index];
        turns[index] = turns[^1];
        turns.RemoveAt(turns.Count - 1);
        turn.Run();
    }
}

/// <summary>The queues of all dispatchers of an actor system, by the dispatcher's id.</summary>
/// <param name="ofNodes">The others are the system's own: they go first, in order, so that how warm it is does not show.</param>
internal sealed class TurnQueues(string ofNodes) : Setup
{
    private readonly Dictionary<string, TurnQueue> byDispatcher = [];
    private readonly List<TurnQueue> nodes = [];
    private readonly List<TurnQueue> own = [];

    public TurnQueue this[string dispatcher]
    {
        get
        {
            if (!byDispatcher.TryGetValue(dispatcher, out var queue))
            {
                queue = byDispatcher[dispatcher] = new TurnQueue(dispatcher);
                (dispatcher.StartsWith(ofNodes, StringComparison.Ordinal) ? nodes : own).Add(queue);
            }

            return queue;
        }
    }

    /// <summary>Gives one of all mailboxes that have something its turn; false where none has.</summary>
    public bool TakeAny(Random random)
    {
        foreach (var queue in own)
        {
            if (queue.Count > 0)
            {
                queue.TakeFirst();
                return true;
            }
        }

        var count = 0;
        foreach (var queue in nodes)
            count += queue.Count;
        if (count == 0)
            return false;
        var chosen = count == 1 ? 0 : random.Next(count);
        foreach (var queue in nodes)
        {
            if (chosen < queue.Count)
            {
                queue.Take(chosen);
                return true;
            }

            chosen -= queue.Count;
        }

        throw new InvalidOperationException("A queue lost a turn while it was looked at: something runs on another thread.");
    }
}

/// <summary>Makes the executor of a dispatcher: <c>executor = "…TurnExecutor, …"</c>.</summary>
internal sealed class TurnExecutor(Config config, IDispatcherPrerequisites prerequisites) : ExecutorServiceConfigurator(config, prerequisites)
{
    public override ExecutorService Produce(string id) => Prerequisites.Settings.Setup.Get<TurnQueues>().Value[id];
}
