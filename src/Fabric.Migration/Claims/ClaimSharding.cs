using Akka.Actor;
using Akka.Cluster.Sharding;
using Fabric.Migration.Fleet;

namespace Fabric.Migration.Claims;

/// <summary>How claims are spread over control nodes, and reached from everywhere.</summary>
public static class ClaimSharding
{
    private const string TypeName = "claim";

    /// <summary>Fixed for ever: it is part of where a claim is looked for.</summary>
    private const int Shards = 16;

    /// <summary>
    /// Coordinator state in distributed data (a corrupt persistent one cannot start), remembered entities in the journal (the durable kind
    /// needs a native library whose served version does not match). The coordinator's state is written to a majority and read from one, and to no
    /// more: the defaults ask all of three nodes, and one that is a member a moment before its replicator listens would hold up every new claim for
    /// the whole of the timeout, which is shorter than a requester waits.
    /// </summary>
    public const string Hocon = """
        akka.cluster.sharding {
          role = control
          remember-entities = on
          state-store-mode = ddata
          remember-entities-store = eventsourced
          passivate-idle-entity-after = off
          updating-state-timeout = 8s
          coordinator-state.write-majority-plus = 0
          coordinator-state.read-majority-plus = 0
          distributed-data.majority-min-cap = 1
          waiting-for-state-timeout = 5s
          entity-restart-backoff = 2s
          shard-failure-backoff = 2s
          coordinator-failure-backoff = 2s
          retry-interval = 500ms
        }
        akka.cluster.sharding.distributed-data.durable.keys = []
        """;

    /// <summary>Runs claims on this node.</summary>
    public static Task<IActorRef> StartAsync(ActorSystem system, TimeProvider time)
    {
        var members = new FabricMembers(system);
        return Akka.Cluster.Sharding.ClusterSharding.Get(system).StartAsync(
            TypeName, id => ClaimActor.Props(id, members, time), ClusterShardingSettings.Create(system), new Extractor());
    }

    /// <summary>Reaches claims that run on control nodes.</summary>
    public static Task<IActorRef> StartProxyAsync(ActorSystem system) =>
        Akka.Cluster.Sharding.ClusterSharding.Get(system).StartProxyAsync(TypeName, FabricMembers.ControlRole, new Extractor());

    private sealed class Extractor() : HashCodeMessageExtractor(Shards)
    {
        public override string EntityId(object message) => message is IClaimMessage claim ? claim.ClaimId : null!;
    }
}
