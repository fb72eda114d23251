using System.Collections.Concurrent;
using Akka.Actor;
using Akka.Cluster;
using Fabric.Migration.Fleet;

namespace Fabric.Node.Hosting;

/// <summary>
/// The control nodes beside this one that its memberships have had. A control node without seeds founds a fabric once; when it was put out it looks
/// for those that it had met, for they go on, and two fabrics on one journal would be two.
/// </summary>
internal sealed class MetControls
{
    private readonly ConcurrentDictionary<Address, bool> addresses = [];

    public IEnumerable<Address> Addresses => addresses.Keys;

    /// <summary>Watches the members of a cluster, for as long as this node is one.</summary>
    public void Follow(ActorSystem system) => system.ActorOf(Props.Create(() => new Follower(this)), "met-controls");

    private sealed class Follower(MetControls met) : UntypedActor
    {
        protected override void PreStart() => Cluster.Get(Context.System).Subscribe(
            Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.MemberUp));

        protected override void PostStop() => Cluster.Get(Context.System).Unsubscribe(Self);

        protected override void OnReceive(object message)
        {
            if (message is ClusterEvent.MemberUp { Member: var member } && member.HasRole(FabricMembers.ControlRole)
                && !member.Address.Equals(Cluster.Get(Context.System).SelfAddress))
            {
                met.addresses[member.Address] = true;
            }
        }
    }
}
