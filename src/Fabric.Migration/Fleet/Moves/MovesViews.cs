using System.Collections.Immutable;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>What people are shown of moves.</summary>
internal static class MovesViews
{
    public static MovesView Of(FleetSnapshot fleet, MovesState state, ImmutableArray<MoveWait> waits, BreakerWatch watch) => new(
        [.. state.Drains.Values.Select(drain => Of(fleet, state, waits, drain))],
        state.Rebalance is { } rebalance ? Of(fleet, state, waits, rebalance) : null,
        new BreakerView(
            state.Breaker.TrippedFor, Moment(state.Breaker.TrippedAt), state.Breaker.ResetBy, Moment(state.Breaker.ResetAt),
            [.. watch.Misbehaving.Order(StringComparer.Ordinal)]));

    /// <summary>What a command would begin with, and why the rest would wait.</summary>
    public static MovingClaim[] Of(MoveDecision decision) =>
    [
        .. decision.Orders.Select(static order => new MovingClaim(order.ClaimId, "planned", order.From, order.To, order.Cause, 0)),
        .. decision.Waits.Select(Of),
    ];

    private static DrainView Of(FleetSnapshot fleet, MovesState state, ImmutableArray<MoveWait> waits, Drain drain)
    {
        MovingClaim[] claims =
        [
            .. Latest(state.Moves.Where(move => !move.OfRebalance && move.From == drain.Host))
                .Where(move => move.IsOpen || fleet.Claim(move.ClaimId)?.Host != drain.Host)
                .Select(move => Of(fleet, move)),
            .. waits.Where(wait => !wait.OfRebalance && wait.From == drain.Host).Select(Of),
        ];
        var left = claims.Where(static claim => claim.State is not ("moved" or "stayed")).ToArray();
        var word = drain.EmptiedAt != 0 ? "drained" : left.Length > 0 && left.All(static claim => claim.State == "blocked") ? "blocked" : "draining";
        return new DrainView(drain.Host, word, drain.RequestedBy, DateTimeOffset.FromUnixTimeMilliseconds(drain.StartedAt), claims);
    }

    private static RebalanceView Of(FleetSnapshot fleet, MovesState state, ImmutableArray<MoveWait> waits, Rebalance rebalance)
    {
        var moves = Latest(state.Moves.Where(static move => move.OfRebalance)).ToDictionary(static move => move.ClaimId);
        return new RebalanceView(
            rebalance.Outcome ?? "running",
            rebalance.RequestedBy,
            DateTimeOffset.FromUnixTimeMilliseconds(rebalance.StartedAt),
            [
                .. rebalance.Moves.Select(intent =>
                    moves.TryGetValue(intent.ClaimId, out var move) ? Of(fleet, move)
                    : waits.FirstOrDefault(wait => wait.OfRebalance && wait.ClaimId == intent.ClaimId) is { } wait ? Of(wait) with { To = intent.To }
                    : new MovingClaim(intent.ClaimId, rebalance.Outcome is null ? "waiting" : "stayed", intent.From, intent.To, intent.Why, 0)),
            ]);
    }

    private static IEnumerable<Move> Latest(IEnumerable<Move> moves) =>
        moves.GroupBy(static move => move.ClaimId).Select(static ofClaim => ofClaim.Last());

    private static MovingClaim Of(FleetSnapshot fleet, Move move) => new(
        move.ClaimId,
        move switch { { IsOpen: true } => "moving", { Outcome: "committed" } => "moved", _ => "stayed" },
        move.From,
        move.To,
        move.IsOpen ? move.Cause : move.Reason,
        move.IsOpen ? fleet.Claim(move.ClaimId)?.MigrationOf(move.Request)?.Number ?? 0 : move.Migration);

    private static MovingClaim Of(MoveWait wait) => new(wait.ClaimId, wait.Blocked ? "blocked" : "waiting", wait.From, null, wait.Reason, 0);

    private static DateTimeOffset? Moment(long at) => at == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(at);
}
