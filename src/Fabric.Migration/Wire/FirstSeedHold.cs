using Akka.Actor;
using Akka.Cluster;

namespace Fabric.Migration.Wire;

/// <summary>
/// Keeps a refused first seed node from forming a cluster of its own beside the one that refused it: two clusters would run the
/// same claims (law L1). While held it asks as any other node would; after three seed-node-timeouts it tries as first seed again,
/// so that it can form the cluster once the other one is gone.
/// </summary>
internal sealed class FirstSeedHold(ExtendedActorSystem system)
{
    private int held;

    /// <summary>Does nothing on a node that is not the first of several configured seed nodes, or is held already.</summary>
    public void Begin()
    {
        var cluster = Cluster.Get(system);
        var seeds = cluster.Settings.SeedNodes;
        if (seeds.Count < 2 || seeds[0] != cluster.SelfAddress || Interlocked.Exchange(ref held, 1) == 1)
            return;

        cluster.JoinSeedNodes(seeds.RemoveAt(0));
        system.Scheduler.Advanced.ScheduleOnce(3 * cluster.Settings.SeedNodeTimeout, () =>
        {
            Volatile.Write(ref held, 0);
            cluster.JoinSeedNodes(seeds);
        });
    }
}
