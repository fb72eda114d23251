using Akka.Actor;
using Akka.Cluster;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

/// <summary>A function is free that was not, or a host is back; published on the event stream of its control node alone.</summary>
internal sealed record FleetChanged : INoSerializationVerificationNeeded
{
    public static FleetChanged Instance { get; } = new();
}

/// <summary>
/// One per control node, <c>/user/fleet</c>: what the node knows of hosts, devices and claims from what they tell, and the recent events. It
/// holds nothing that is not told again, or asked for where it lacks: a node that has just started is complete within seconds. Of claims that were
/// released it remembers the last <see cref="ReleasedKept"/>, and of events the last <see cref="EventsKept"/>.
/// </summary>
public sealed class FleetActor : UntypedActor
{
    public const string Name = "fleet";

    internal const int ReleasedKept = 1000;

    private const int EventsKept = 1000;

    /// <summary>A host beside its inventory, and a little more.</summary>
    private const int HostBytes = 1024;

    private readonly FabricMembers members = new(Context.System);
    private readonly Dictionary<string, Told<HostInventory>> inventories = [];
    private readonly Dictionary<string, string> lastAddresses = [];
    private readonly SortedList<string, ClaimView> claims = new(StringComparer.Ordinal);
    private MeasuredRate? rate;
    private readonly Queue<string> released = new();
    private readonly Queue<NumberedEvent> events = new();
    private readonly HashSet<IActorRef> followers = [];
    private readonly TimeProvider time;
    private readonly HashSet<string> left = [];
    private readonly Told<MovesView> toldMoves = new(MovesPortion.Join);
    private readonly ActorSelection moves = Context.System.ActorSelection(MovesSingleton.ProxyPath);

    /// <summary>Of claims that wait to hear whether it is their turn.</summary>
    private readonly Dictionary<string, (IActorRef Claim, RankHosts Question)> turns = [];
    private long lastEvent;

    public FleetActor(TimeProvider time) => this.time = time;

    private MovesView? Moves => toldMoves.Whole;

    public static Props Props(TimeProvider time) => Akka.Actor.Props.Create(() => new FleetActor(time));

    protected override void PreStart() => Cluster.Get(Context.System).Subscribe(
        Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents,
        typeof(ClusterEvent.MemberUp), typeof(ClusterEvent.MemberRemoved), typeof(ClusterEvent.IReachabilityEvent));

    protected override void PostStop() => Cluster.Get(Context.System).Unsubscribe(Self);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case InventoryPortion portion:
                OnInventory(portion);
                break;
            case InventoryUnchanged unchanged:
                if (!ToldBy(unchanged.Host).Has(unchanged.Life, unchanged.Version))
                    Sender.Tell(TellInventory.Instance);
                break;
            case ClaimChanged changed:
                OnClaim(changed.Claim);
                break;
            case MovesPortion portion:
                OnMoves(portion);
                break;
            case RankHosts { Only: { } only } when members.IsJoining(only):
                // It is up where it runs, and in a moment here: who asks asks again.
                break;
            case RankHosts { Leaves: { } ask } rank when Moves is { Breaker.Reason: null }:
                turns[ask.ClaimId] = (Sender, rank);
                moves.Tell(ask, Self);
                break;
            case EvacuationTurn turn:
                if (turns.Remove(turn.ClaimId, out var asked))
                    asked.Claim.Tell(turn.Wait is { } wait ? new HostsRanked([], [], wait) : Rank(asked.Question));
                break;
            case RankHosts rank when Moves is not null:
                Sender.Tell(Rank(rank));
                break;
            case RankHosts:
                break;
            case DescribeFleet:
                Sender.Tell(Describe());
                break;
            case ReadHosts read:
                Sender.Tell(Read(read));
                break;
            case ReadClaims read:
                Sender.Tell(Read(read));
                break;
            case ReadMoves read:
                Sender.Tell(Read(read));
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

    private Told<HostInventory> ToldBy(string host) =>
        inventories.TryGetValue(host, out var known) ? known : inventories[host] = new Told<HostInventory>(InventoryPortion.Join);

    private void OnInventory(InventoryPortion portion)
    {
        var told = ToldBy(portion.Part.Host);
        var before = told.Whole;
        if (told.Take(portion.Telling, portion.Part) && FreesSomething(before, told.Whole!))
            Context.System.EventStream.Publish(FleetChanged.Instance);
    }

    private static bool FreesSomething(HostInventory? known, HostInventory now)
    {
        var before = (known?.Devices ?? []).Where(IsFree).Select(static device => device.Address).ToHashSet();
        return now.Devices.Any(device => IsFree(device) && !before.Contains(device.Address));

        static bool IsFree(DeviceEntry device) => device is { Model: not null, State: "closed" };
    }

    private void OnClaim(ClaimView claim)
    {
        if (claim.Phase == ClaimPhase.Released && claims.GetValueOrDefault(claim.Id)?.Phase != ClaimPhase.Released)
            released.Enqueue(claim.Id);
        claims[claim.Id] = claim;
        if (claim.Migrations is [.., { RateAtStop: > 0 } last] && !(last.StartedAt <= rate?.At))
            rate = new MeasuredRate($"{claim.Id}.{last.Number}", last.RateAtStop, last.StartedAt);

        // One that was created again under its id is no released one any more.
        while (released.Count > ReleasedKept && released.Dequeue() is var oldest)
        {
            if (claims.TryGetValue(oldest, out var known) && known.Phase == ClaimPhase.Released)
                claims.Remove(oldest);
        }
    }

    /// <summary>What held claims back and does so no more is as good as a function that became free.</summary>
    private void OnMoves(MovesPortion portion)
    {
        var before = Moves;
        if (!toldMoves.Take(portion.Telling, portion.Part) || before is null)
            return;
        var drained = Moves!.Drains.Select(static drain => drain.Host).ToHashSet();
        if (before.Drains.Any(drain => !drained.Contains(drain.Host)) || (before.Breaker.Reason is not null && Moves.Breaker.Reason is null))
            Context.System.EventStream.Publish(FleetChanged.Instance);
    }

    private HostsRanked Rank(RankHosts rank)
    {
        if (rank.Automatic && Moves!.Breaker.Reason is { } tripped)
            return new HostsRanked([], [], $"the breaker has stopped automatic moves: {tripped}; look at what misbehaves, then reset it");
        var fleet = FleetSnapshot.Of(Describe());
        if (rank.Only is { } only)
            return Placement.WhyNot(fleet, rank.Needs, only) is { } no ? new HostsRanked([], [no], null) : new HostsRanked([only], [], null) { Rate = rate };
        var hosts = Placement.Rank(fleet, rank.Needs, rank.Spread);
        if (rank.Current is { } current && hosts.Contains(current))
            hosts = rank.Automatic ? [.. hosts.Remove(current), current] : hosts.Remove(current);
        var others = fleet.Hosts.Where(host => host.Answers && host.Name != rank.Current)
            .Select(host => Placement.WhyNot(fleet, rank.Needs, host)).OfType<string>().ToArray();
        return new HostsRanked(hosts, [.. others.Take(Reasons.Most)], null)
        {
            More = Math.Max(0, others.Length - Reasons.Most),
            Rate = rate,
        };
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

    // ---- What is read of it --------------------------------------------------------------------------------------------------------------

    private FleetDescribed Describe()
    {
        var present = Present();
        return new FleetDescribed([.. Names(present).Select(name => HostOf(name, present, inventories.GetValueOrDefault(name)?.Whole))], [.. claims.Values])
        {
            Moves = Moves,
        };
    }

    private HostsRead Read(ReadHosts read)
    {
        var present = Present();
        var page = new List<HostPart>();
        var bytes = 0;
        foreach (var name in Names(present).Where(name => read.Only is null || name == read.Only))
        {
            var order = read.After is null ? 1 : string.CompareOrdinal(name, read.After.Host);
            if (order < 0)
                continue;
            var parts = inventories.GetValueOrDefault(name)?.Parts ?? [];
            if (order == 0 && (read.After!.Telling is null || read.After.Telling is { IsLast: true }))
                continue;
            if (parts.Count == 0)
            {
                if (bytes + HostBytes > Portions.Bytes)
                    return new HostsRead([.. page], IsLast: false);
                page.Add(new HostPart(HostOf(name, present, null), null));
                bytes += HostBytes;
            }

            foreach (var (telling, part) in parts.Skip(order == 0 ? inventories[name].After(read.After!.Telling) : 0))
            {
                if (page.Count > 0 && bytes + telling.Bytes + HostBytes > Portions.Bytes)
                    return new HostsRead([.. page], IsLast: false);
                page.Add(new HostPart(HostOf(name, present, part), telling));
                bytes += telling.Bytes + HostBytes;
            }
        }

        return new HostsRead([.. page], IsLast: true);
    }

    private ClaimsRead Read(ReadClaims read)
    {
        if (read.Only is { } only)
            return new ClaimsRead(claims.TryGetValue(only, out var claim) ? [claim] : [], IsLast: true);
        var from = read.After is null ? 0 : FirstAfter(claims.Keys, read.After);
        var page = new List<ClaimView>();
        for (var (at, bytes) = (from, 0); at < claims.Count; at++)
        {
            bytes += WireWeight.Of(claims.GetValueAtIndex(at));
            if (page.Count > 0 && bytes > Portions.Bytes)
                return new ClaimsRead([.. page], IsLast: false);
            page.Add(claims.GetValueAtIndex(at));
        }

        return new ClaimsRead([.. page], IsLast: true);
    }

    private MovesRead Read(ReadMoves read) => new(
        toldMoves.Parts.Count > 0 && toldMoves.Parts[Math.Min(toldMoves.After(read.After), toldMoves.Parts.Count - 1)] is var (telling, part)
            ? new MovesPortion(part, telling)
            : null);

    private static int FirstAfter(IList<string> sorted, string name)
    {
        var (low, high) = (0, sorted.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (string.CompareOrdinal(sorted[middle], name) <= 0)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    /// <summary>Hosts that are members. An earlier life of one may be so still.</summary>
    private Dictionary<string, Member> Present() =>
        members.Hosts.Select(FabricMembers.NameOf).Distinct().ToDictionary(static name => name, name => members.Host(name)!);

    private IEnumerable<string> Names(Dictionary<string, Member> present) => present.Keys.Union(inventories.Keys).Order(StringComparer.Ordinal);

    private FleetHost HostOf(string name, Dictionary<string, Member> present, HostInventory? inventory) => new(
        name,
        !present.TryGetValue(name, out var member) ? "down" : members.IsReachable(member) ? "up" : "unreachable",
        lastAddresses.GetValueOrDefault(name, ""),
        inventory)
    {
        Left = left.Contains(name),
    };
}
