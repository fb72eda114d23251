using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet;

/// <summary>
/// One per control node, <c>/user/fleet</c>: what the node knows of hosts, devices and claims from what they tell, and the recent events. It
/// holds nothing that is not told again: a node that has just started is complete within seconds.
/// </summary>
public sealed class FleetActor : UntypedActor
{
    public const string Name = "fleet";

    private const int EventsKept = 1000;

    private readonly FabricMembers members = new(Context.System);
    private readonly Dictionary<string, HostInventory> inventories = [];
    private readonly Dictionary<string, string> lastAddresses = [];
    private readonly Dictionary<string, ClaimView> claims = [];
    private readonly Queue<NumberedEvent> events = new();
    private readonly HashSet<IActorRef> followers = [];
    private readonly TimeProvider time;
    private long lastEvent;

    public FleetActor(TimeProvider time) => this.time = time;

    public static Props Props(TimeProvider time) => Akka.Actor.Props.Create(() => new FleetActor(time));

    protected override void PreStart() => Cluster.Get(Context.System).Subscribe(
        Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents,
        typeof(ClusterEvent.MemberUp), typeof(ClusterEvent.MemberRemoved), typeof(ClusterEvent.IReachabilityEvent));

    protected override void PostStop() => Cluster.Get(Context.System).Unsubscribe(Self);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case HostInventory inventory:
                inventories[inventory.Host] = inventory;
                break;
            case ClaimChanged changed:
                claims[changed.Claim.Id] = changed.Claim;
                break;
            case DescribeFleet:
                Sender.Tell(Describe());
                break;
            case FabricEvent happened:
                Record(happened);
                break;
            case FollowEvents follow:
                Follow(follow);
                break;
            case Terminated gone:
                followers.Remove(gone.ActorRef);
                break;
            case ClusterEvent.MemberUp up:
                Announce(up.Member, "node.up", "joined the fabric");
                break;
            case ClusterEvent.UnreachableMember unreachable:
                Announce(unreachable.Member, "node.unreachable", "does not answer");
                break;
            case ClusterEvent.ReachableMember reachable:
                Announce(reachable.Member, "node.reachable", "answers again");
                break;
            case ClusterEvent.MemberRemoved removed:
                Announce(removed.Member, "node.down", "left the fabric");
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>Each control node sees membership for itself: its own events, not told on.</summary>
    private void Announce(Member member, string kind, string what)
    {
        var name = FabricMembers.NameOf(member);
        lastAddresses[name] = $"{member.Address.Host}:{member.Address.Port}";
        Record(new FabricEvent(time.GetUtcNow(), kind, name, members.Self, $"{name} {what}"));
    }

    private void Record(FabricEvent happened)
    {
        var numbered = new NumberedEvent(++lastEvent, happened);
        events.Enqueue(numbered);
        if (events.Count > EventsKept)
            events.Dequeue();
        foreach (var follower in followers)
            follower.Tell(numbered);
    }

    private void Follow(FollowEvents follow)
    {
        foreach (var remembered in events.Where(numbered => numbered.Id > follow.AfterId))
            Sender.Tell(remembered);
        Context.Watch(Sender);
        followers.Add(Sender);
    }

    private FleetDescribed Describe()
    {
        var present = members.Hosts.ToImmutableDictionary(FabricMembers.NameOf);
        var hosts = present.Keys.Union(inventories.Keys).Order(StringComparer.Ordinal).Select(name => new FleetHost(
            name,
            !present.TryGetValue(name, out var member) ? "down" : members.IsReachable(member) ? "up" : "unreachable",
            lastAddresses.GetValueOrDefault(name, ""),
            inventories.GetValueOrDefault(name)));
        return new FleetDescribed([.. hosts], [.. claims.Values.OrderBy(claim => claim.Id, StringComparer.Ordinal)]);
    }
}
