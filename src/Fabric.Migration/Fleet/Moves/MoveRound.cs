using System.Collections.Immutable;
using System.Globalization;
using Fabric.Migration.Claims;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Fleet.Moves;

/// <param name="TimeoutMs">Of each migration, milliseconds.</param>
public sealed record MovesOptions(MoveLimits Limits, BreakerLimits Breaker, int TimeoutMs = 600_000)
{
    public static MovesOptions Default { get; } = new(new MoveLimits(), BreakerLimits.Default);
}

/// <summary>
/// What is to be written down after one look at the fabric: which moves have ended, whether the breaker trips, who moves next, which host is empty.
/// Pure. Whoever carries it out writes first, and tells claims of their moves then, again and again until they show them.
/// </summary>
/// <param name="Happened">In this order.</param>
/// <param name="Waits">Why those that are to move do not yet.</param>
public sealed record MoveRound(ImmutableArray<IJournaled> Happened, ImmutableArray<MoveWait> Waits, MovesState State, BreakerWatch Watch)
{
    /// <summary>A claim that does not show a move for so long after it must have ended is not going to.</summary>
    private const int Grace = 60_000;

    /// <param name="evacuations">They go first.</param>
    /// <param name="complete">The fleet has been heard of long enough: what is not in it is not there.</param>
    /// <param name="now">Milliseconds since 1970-01-01 UTC.</param>
    public static MoveRound Next(
        FleetSnapshot fleet, MovesState state, BreakerWatch watch, EvacuationTurns evacuations, MovesOptions options, bool complete, long now)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(watch);
        ArgumentNullException.ThrowIfNull(options);
        var round = new Writing(state);
        string? why = null;
        if (complete)
            watch = watch.Look(fleet.Under(state), options.Breaker, now, out why);
        if (why is not null && state.Breaker.TrippedFor is null)
            round.Write(new BreakerTripped { Reason = why, At = now });
        foreach (var move in state.OpenMoves)
        {
            if (Ended(move, fleet, options, complete, now) is { } ended)
                round.Write(ended);
        }

        if (!complete)
            return round.Done([], watch);

        var decision = MoveQueue.Decide(fleet.Under(round.State), round.State, evacuations, options.Limits, now);
        foreach (var order in decision.Orders)
        {
            round.Write(new MoveStarted
            {
                Number = round.State.LastMove + 1,
                ClaimId = order.ClaimId,
                FromHost = order.From,
                ToHost = order.To,
                Cause = order.Cause,
                DowntimeLimitMs = order.DowntimeLimitMs,
                OfRebalance = order.OfRebalance,
                At = now,
            });
        }

        foreach (var drain in round.State.Drains.Values.Where(drain => drain.EmptiedAt == 0 && IsEmpty(fleet, round.State, drain.Host)))
            round.Write(new HostEmptied { Host = drain.Host, At = now });
        if (round.State.Rebalance is { Outcome: null } rebalance && Outcome(fleet, round.State, rebalance, decision.Waits) is { } outcome)
            round.Write(new RebalanceEnded { Outcome = outcome, At = now });
        return round.Done(decision.Waits, watch);
    }

    private static MoveEnded? Ended(Move move, FleetSnapshot fleet, MovesOptions options, bool complete, long now)
    {
        var claim = fleet.Claim(move.ClaimId);
        if (claim?.MigrationOf(move.Request) is { } migration)
        {
            return migration is { Step: MigrationStep.Done, Outcome: { } outcome }
                ? new MoveEnded { Number = move.Number, Outcome = outcome, Reason = migration.Reason ?? "", Migration = migration.Number, At = now }
                : null;
        }

        var reason = claim is { HasPlace: true }
            ? now - move.StartedAt > options.TimeoutMs + Grace ? "the claim did not begin to move; look at its control node" : null
            : complete ? "the claim is there no more" : null;
        return reason is null ? null : new MoveEnded { Number = move.Number, Outcome = "refused", Reason = reason, At = now };
    }

    /// <summary>By what the claims say and by what the host says.</summary>
    private static bool IsEmpty(FleetSnapshot fleet, MovesState state, string host) =>
        !fleet.Claims.Any(claim => claim.IsAt(host))
        && !state.OpenMoves.Any(move => move.From == host || move.To == host)
        && fleet.Host(host) is { } place && (!place.HasTold || place.Devices.All(static device => device.Claim is null));

    private static string? Outcome(FleetSnapshot fleet, MovesState state, Rebalance rebalance, ImmutableArray<MoveWait> waits)
    {
        if (state.OpenMoves.Any(static move => move.OfRebalance))
            return null;
        var left = MoveQueue.Remaining(fleet, state, rebalance).ToArray();
        if (left.Any(intent => !waits.Any(wait => wait.OfRebalance && wait.Blocked && wait.ClaimId == intent.ClaimId)))
            return null;
        var moved = state.Moves.Count(static move => move is { OfRebalance: true, Outcome: "committed" });
        return string.Create(CultureInfo.InvariantCulture, $"{moved} of {rebalance.Moves.Length} claims moved");
    }

    private sealed class Writing(MovesState state)
    {
        private readonly ImmutableArray<IJournaled>.Builder happened = ImmutableArray.CreateBuilder<IJournaled>();

        public MovesState State { get; private set; } = state;

        public void Write(IJournaled one)
        {
            happened.Add(one);
            State = State.Apply(one);
        }

        public MoveRound Done(ImmutableArray<MoveWait> waits, BreakerWatch watch) => new(happened.ToImmutable(), waits, State, watch);
    }
}
