using System.Collections.Immutable;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>How much the fabric moves by itself at a time.</summary>
/// <param name="PerFabric">Migrations under way at once, whoever asked for them.</param>
/// <param name="PerHost">Of those, how many may leave one host.</param>
/// <param name="Attempts">Migrations of one claim that may fail before a person has to look.</param>
public sealed record MoveLimits(int PerFabric = 5, int PerHost = 2, int Attempts = 3);

/// <summary>A claim that is to move now.</summary>
public sealed record MoveOrder(string ClaimId, string From, string To, string Cause, int DowntimeLimitMs, bool OfRebalance);

/// <summary>A claim that is to move, and does not yet.</summary>
/// <param name="Blocked">It does not come to its turn by itself: something else must change first.</param>
public sealed record MoveWait(string ClaimId, string From, string Reason, bool Blocked, bool OfRebalance);

/// <summary>What follows from the fabric as it is: who moves now, and why each other one waits.</summary>
public sealed record MoveDecision(ImmutableArray<MoveOrder> Orders, ImmutableArray<MoveWait> Waits);

/// <summary>
/// Decides who moves next, and where to. Pure: the same fabric and the same journal give the same answer, on whichever control node it is asked for.
/// </summary>
public static class MoveQueue
{
    /// <summary>After a migration that failed, or that a claim refused, this long; twice as long each time.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    /// <param name="evacuations">They go first.</param>
    /// <param name="now">Milliseconds since 1970-01-01 UTC.</param>
    public static MoveDecision Decide(FleetSnapshot fleet, MovesState state, EvacuationTurns evacuations, MoveLimits limits, long now)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(evacuations);
        ArgumentNullException.ThrowIfNull(limits);
        var leaving = Leavings.Of(fleet, state, limits);
        foreach (var (claim, host) in evacuations.Ahead(fleet, now))
            leaving.Add(claim, host);
        var turn = new Turn(fleet, state, leaving, limits, now);
        foreach (var drain in state.Drains.Values.OrderBy(static drain => drain.StartedAt))
        {
            var cause = $"{drain.Host} is drained, as {drain.RequestedBy} asked";
            var there = fleet.Claims.Where(claim => claim.HasPlace && claim.Host == drain.Host);
            foreach (var claim in there.OrderBy(static claim => claim.Id, StringComparer.Ordinal))
                turn.Consider(claim, new MoveOrder(claim.Id, drain.Host, "", cause, drain.DowntimeLimitMs, OfRebalance: false));
        }

        if (state.Rebalance is { Outcome: null } rebalance)
        {
            foreach (var intent in Remaining(fleet, state, rebalance))
            {
                var cause = $"rebalance, as {rebalance.RequestedBy} asked: {intent.Why}";
                turn.Consider(
                    fleet.Claim(intent.ClaimId)!,
                    new MoveOrder(intent.ClaimId, intent.From, intent.To, cause, rebalance.DowntimeLimitMs, OfRebalance: true));
            }
        }

        return turn.Decision;
    }

    /// <summary>Moves of a rebalance that have not been tried, of claims that are still where they were.</summary>
    public static IEnumerable<Intent> Remaining(FleetSnapshot fleet, MovesState state, Rebalance rebalance)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(rebalance);
        var tried = state.Moves.Where(static move => move.OfRebalance && !move.IsOpen).Select(static move => move.ClaimId).ToHashSet();
        var still = fleet.Claims.Where(static claim => claim.HasPlace).ToLookup(static claim => claim.Id, static claim => claim.Host);
        return rebalance.Moves.Where(intent => still[intent.ClaimId].Contains(intent.From) && !tried.Contains(intent.ClaimId));
    }

    /// <summary>One decision, as it is being made: what is given out already counts for those who come after.</summary>
    private sealed class Turn(FleetSnapshot fleet, MovesState state, Leavings leaving, MoveLimits limits, long now)
    {
        private readonly List<MoveOrder> orders = [];
        private readonly List<MoveWait> waits = [];
        private readonly HashSet<string> considered = [];
        private readonly ILookup<string, HostPlace> hosts = fleet.Hosts.ToLookup(static host => host.Name);
        private readonly Move[] open = [.. state.OpenMoves];

        /// <summary>Of each claim, oldest first.</summary>
        private readonly ILookup<string, Move> ended = state.Moves.Where(static move => !move.IsOpen).ToLookup(static move => move.ClaimId);

        public MoveDecision Decision => new([.. orders], [.. waits]);

        public void Consider(ClaimPlace claim, MoveOrder order)
        {
            // A claim of a drained host that is to be rebalanced too moves once. What is under way has its turn already.
            if (!considered.Add(claim.Id) || Array.Exists(open, move => move.ClaimId == claim.Id))
                return;
            if (WhyNotNow(claim, order) is { } why)
                waits.Add(new MoveWait(claim.Id, claim.Host, why.Reason, why.Blocked, order.OfRebalance));
            else if (Target(claim, order, out var reason) is { } target)
                Give(order with { To = target });
            else
                waits.Add(new MoveWait(claim.Id, claim.Host, reason, Blocked: true, order.OfRebalance));
        }

        private (string Reason, bool Blocked)? WhyNotNow(ClaimPlace claim, MoveOrder order)
        {
            if (claim.Phase == ClaimPhase.Migrating)
                return ($"it is migrating to {claim.MovesTo} already", false);
            if (claim.Phase != ClaimPhase.Running)
                return ($"it is {claim.Phase.ToString().ToLowerInvariant()}; only a running claim migrates", false);
            if (state.Breaker.TrippedFor is { } tripped)
                return ($"the breaker has stopped automatic moves: {tripped}", true);
            var tried = Tried(claim, order);
            if (tried.LastOrDefault() is { } last)
            {
                if (last.Outcome == "cancelled")
                    return ($"its migration was {last.Reason}, and is not tried again; migrate it", true);
                if (tried.Length >= limits.Attempts)
                    return ($"{tried.Length} migrations of it failed, last: {last.Reason}; migrate it, or release it", true);
            }

            if (NotBefore(claim, order) is { } refused && refused.At > now)
                return ($"it is tried again in a moment; last: {refused.Reason}", false);
            if (hosts[claim.Host].FirstOrDefault() is not { Answers: true })
                return ($"{claim.Host} does not answer: nothing can be read from it", true);
            return leaving.WhyNot(claim.Host) is { } full ? (full, false) : null;
        }

        /// <summary>Migrations that failed of this claim since its drain began.</summary>
        private Move[] Tried(ClaimPlace claim, MoveOrder order) =>
            [.. Ended(claim, order).Where(static move => move.Outcome is not ("refused" or "committed"))];

        private IEnumerable<Move> Ended(ClaimPlace claim, MoveOrder order) =>
            ended[claim.Id].Where(move => move.From == order.From && move.OfRebalance == order.OfRebalance);

        private (long At, string? Reason)? NotBefore(ClaimPlace claim, MoveOrder order)
        {
            var all = Ended(claim, order).ToArray();
            return all.LastOrDefault() is { Outcome: not "committed" } last
                ? (last.EndedAt + ((long)Pause.TotalMilliseconds << Math.Min(all.Length - 1, 5)), last.Reason)
                : null;
        }

        /// <summary>The host with the most room after what is on its way there.</summary>
        private string? Target(ClaimPlace claim, MoveOrder order, out string reason)
        {
            var needs = PlacementNeeds.Of(claim);
            var reasons = new Reasons();
            string? best = null;
            var most = 0;
            var meant = fleet.Hosts.Where(host => host.Name != claim.Host && (order.To.Length == 0 || host.Name == order.To));
            foreach (var host in meant.OrderBy(static host => host.Name, StringComparer.Ordinal))
            {
                if ((Placement.WhyNot(fleet, needs, host) ?? WhyNotBeside(host, needs)) is { } no)
                {
                    if (!host.Left)
                        reasons.Add(no);
                    continue;
                }

                var room = Placement.Room(host, needs) - OnTheirWay(host, needs);
                if (room <= 0)
                    reasons.Add($"{host.Name} has no free {string.Join(", ", claim.Models.Distinct())}; release one, or add a host.");
                if (room > most)
                    (best, most) = (host.Name, room);
            }

            var all = reasons.Any ? reasons.ToString() : "no other host is up; start one.";
            reason = best is not null ? "" : $"there is no host to go to: {all}";
            return best;
        }

        /// <summary>Of a group whose claims keep apart, what is on its way to a host counts as there.</summary>
        private string? WhyNotBeside(HostPlace host, PlacementNeeds needs) => needs.ApartFrom is { } group
            && Coming(host.Name).FirstOrDefault(id => id != needs.ClaimId && fleet.Claim(id)?.ApartFrom == group) is { } near
                ? $"Host {host.Name} is to have claim {near} of the group {group}, whose claims keep apart; choose another host."
                : null;

        /// <summary>Functions that are promised to moves and shown as free still.</summary>
        private int OnTheirWay(HostPlace host, PlacementNeeds needs) => Coming(host.Name).Count(id =>
            id != needs.ClaimId
            && !host.Devices.Any(device => device.Claim == id)
            && fleet.Claim(id) is { } other
            && other.Models.Intersect(needs.Models).Any());

        private IEnumerable<string> Coming(string host) =>
        [
            .. open.Where(move => move.To == host).Select(static move => move.ClaimId),
            .. orders.Where(order => order.To == host).Select(static order => order.ClaimId),
        ];

        private void Give(MoveOrder order)
        {
            orders.Add(order);
            leaving.Add(order.ClaimId, order.From);
        }
    }
}
