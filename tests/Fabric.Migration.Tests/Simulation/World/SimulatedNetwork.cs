namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>
/// Between nodes: every message takes its own time, so that any may overtake any other; in bad weather some are lost, some come twice and some
/// very late; between nodes that are cut off nothing comes through.
/// </summary>
internal sealed class SimulatedNetwork(Simulation run)
{
    private HashSet<int>? island;

    /// <summary>Lost, of all messages.</summary>
    public double Loss { get; set; }

    /// <summary>Sent twice, of all messages.</summary>
    public double Doubling { get; set; }

    /// <summary>Seconds that a message may take, of one in four.</summary>
    public double Lateness { get; set; }

    /// <summary>These nodes hear only each other.</summary>
    public void CutOff(IEnumerable<int> nodes) => island = [.. nodes];

    public void Heal() => island = null;

    public void Calm() => (Loss, Doubling, Lateness) = (0, 0, 0);

    public bool Connects(SimulatedNode one, SimulatedNode other) => island is null || island.Contains(one.Index) == island.Contains(other.Index);

    /// <summary>Sends what is delivered to the node's life of then.</summary>
    public void Send(Life from, SimulatedNode to, Func<string> what, Action deliver)
    {
        if (!from.IsAlive || !Connects(from.Node, to) || run.Chance(Loss))
        {
            run.Trace(from.Node.Name, () => $"to {to.Name}: {what()} (lost)");
            return;
        }

        run.Trace(from.Node.Name, () => $"to {to.Name}: {what()}");
        Deliver(from.Node, to, deliver);
        if (run.Chance(Doubling))
            Deliver(from.Node, to, deliver);
    }

    /// <summary>A connection of its own: in order, whole, or broken.</summary>
    public void Stream(Life from, SimulatedNode to, Action deliver)
    {
        if (from.IsAlive && Connects(from.Node, to))
            Deliver(from.Node, to, deliver, TimeSpan.FromMilliseconds(2));
    }

    private void Deliver(SimulatedNode from, SimulatedNode to, Action deliver) => Deliver(
        from, to, deliver, run.Between(0.0002, 0.003) + (Lateness > 0 && run.Chance(0.25) ? run.Between(0, Lateness) : TimeSpan.Zero));

    private void Deliver(SimulatedNode from, SimulatedNode to, Action deliver, TimeSpan takes) => run.After(takes, () =>
    {
        if (to.IsAlive && Connects(from, to))
            deliver();
    });
}
