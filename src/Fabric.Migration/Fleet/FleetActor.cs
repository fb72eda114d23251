using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Fleet;

/// <summary>A function is free that was not, or a host is back; published on the event stream of its control node alone.</summary>
internal sealed record FleetChanged : INoSerializationVerificationNeeded
{
    public static FleetChanged Instance { get; } = new();
}

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
    private readonly HashSet<string> left = [];
    private MovesView? moves;
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
                if (FreesSomething(inventory))
                    Context.System.EventStream.Publish(FleetChanged.Instance);
                inventories[inventory.Host] = inventory;
                break;
            case ClaimChanged changed:
                claims[changed.Claim.Id] = changed.Claim;
                break;
            case MovesView told:
                OnMoves(told);
                break;
            case RankHosts { Only: { } only } when members.IsJoining(only):
                // It is up where it runs, and in a moment here: who asks asks again.
                break;
            case RankHosts rank when moves is not null:
                Sender.Tell(Rank(rank));
                break;
            case RankHosts:
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
                left.Remove(FabricMembers.NameOf(up.Member));
                Announce(up.Member, "node.up", "joined the fabric");
                break;
            case ClusterEvent.UnreachableMember unreachable:
                Announce(unreachable.Member, "node.unreachable", "does not answer");
                break;
            case ClusterEvent.ReachableMember reachable:
                Announce(reachable.Member, "node.reachable", "answers again");
                Context.System.EventStream.Publish(FleetChanged.Instance);
                break;
            case ClusterEvent.MemberRemoved removed:
                if (removed.PreviousStatus == MemberStatus.Exiting)
                    left.Add(FabricMembers.NameOf(removed.Member));
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

    private bool FreesSomething(HostInventory now)
    {
        var before = inventories.TryGetValue(now.Host, out var known) ? known.Devices.Where(IsFree).Select(device => device.Address).ToHashSet() : [];
        return now.Devices.Any(device => IsFree(device) && !before.Contains(device.Address));

        static bool IsFree(DeviceEntry device) => device is { Model: not null, State: "closed" };
    }

    /// <summary>What held claims back and does so no more is as good as a function that became free.</summary>
    private void OnMoves(MovesView told)
    {
        var opened = moves is { } before
            && (before.Drains.Any(drain => told.Drains.All(still => still.Host != drain.Host)) || (before.Breaker.Reason is not null && told.Breaker.Reason is null));
        moves = told;
        if (opened)
            Context.System.EventStream.Publish(FleetChanged.Instance);
    }

    private HostsRanked Rank(RankHosts rank)
    {
        if (rank.Automatic && moves!.Breaker.Reason is { } tripped)
            return new HostsRanked([], [], $"the breaker has stopped automatic moves: {tripped}; look at what misbehaves, then reset it");
        var fleet = FleetSnapshot.Of(Describe());
        if (rank.Only is { } only)
            return Placement.WhyNot(fleet, rank.Needs, only) is { } no ? new HostsRanked([], [no], null) : new HostsRanked([only], [], null);
        var hosts = Placement.Rank(fleet, rank.Needs, rank.Spread);
        if (rank.Current is { } current && hosts.Contains(current))
            hosts = rank.Automatic ? [.. hosts.Remove(current), current] : hosts.Remove(current);
        var reasons = fleet.Hosts.Where(host => host.Answers && host.Name != rank.Current).Select(host => Placement.WhyNot(fleet, rank.Needs, host)).OfType<string>();
        return new HostsRanked(hosts, [.. reasons], null);
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
        // An earlier life of a host may be a member still.
        var present = members.Hosts.Select(FabricMembers.NameOf).Distinct().ToImmutableDictionary(static name => name, name => members.Host(name)!);
        var hosts = present.Keys.Union(inventories.Keys).Order(StringComparer.Ordinal).Select(name => new FleetHost(
            name,
            !present.TryGetValue(name, out var member) ? "down" : members.IsReachable(member) ? "up" : "unreachable",
            lastAddresses.GetValueOrDefault(name, ""),
            inventories.GetValueOrDefault(name))
        {
            Left = left.Contains(name),
        });
        return new FleetDescribed([.. hosts], [.. claims.Values.OrderBy(claim => claim.Id, StringComparer.Ordinal)]) { Moves = moves };
    }
}
