using Akka.Actor;
using Akka.Cluster.Tools.Singleton;
using Akka.Pattern;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>How the one <see cref="MovesActor"/> of a fabric is kept, and reached from everywhere.</summary>
public static class MovesSingleton
{
    private const string One = "one";

    /// <summary>Where it is reached on each node.</summary>
    internal const string ProxyPath = $"/user/{ProxyName}";

    private const string ProxyName = $"{MovesActor.Name}-proxy";

    /// <summary>Runs it on the oldest control node. One that could not write stops, and is taken up from what is written.</summary>
    public static void Start(ActorSystem system, IActorRef claims, MovesOptions options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(system);
        var supervised = Backoff.OnStop(
            MovesActor.Props(claims, options, time), "moves",
            TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10), randomFactor: 0.1, maxNrOfRetries: -1);
        var settings = ClusterSingletonManagerSettings.Create(system).WithRole(FabricMembers.ControlRole).WithSingletonName(One);
        system.ActorOf(ClusterSingletonManager.Props(BackoffSupervisor.Props(supervised), PoisonPill.Instance, settings), MovesActor.Name);
    }

    /// <summary>Reaches it from any node.</summary>
    public static IActorRef StartProxy(ActorSystem system)
    {
        ArgumentNullException.ThrowIfNull(system);
        var settings = ClusterSingletonProxySettings.Create(system).WithRole(FabricMembers.ControlRole).WithSingletonName(One);
        return system.ActorOf(ClusterSingletonProxy.Props($"/user/{MovesActor.Name}", settings), ProxyName);
    }
}
