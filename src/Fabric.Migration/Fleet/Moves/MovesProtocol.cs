using Fabric.Migration.Claims;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// What is asked of <see cref="MovesActor"/>, of which the fabric has one. Answered with <see cref="MovesAccepted"/>, <see cref="MovesPlanned"/> or
/// <see cref="MovesRefused"/>. Each may come twice.
/// </summary>
public interface IMovesCommand : IWireMessage
{
    /// <summary>Nothing is changed: what would be is the answer.</summary>
    bool PlanOnly { get; }
}

/// <summary>The host takes nothing new from now on, and what it has moves away. Asked again, what had failed is tried again.</summary>
/// <param name="DowntimeLimitMs">Of each claim's stop, milliseconds.</param>
/// <param name="PlanOnly">Nothing is changed: what would move where is the answer.</param>
public sealed record DrainHost(string Host, int DowntimeLimitMs, string By, bool PlanOnly) : IMovesCommand;

/// <summary>The host takes claims again. Moves that have begun end as they would have.</summary>
public sealed record UndrainHost(string Host, string By, bool PlanOnly) : IMovesCommand;

/// <summary>Evens claims over hosts.</summary>
public sealed record RebalanceClaims(int DowntimeLimitMs, string By, bool PlanOnly) : IMovesCommand;

/// <summary>What has not begun to move stays.</summary>
public sealed record StopRebalance(string By, bool PlanOnly) : IMovesCommand;

/// <summary>Automatic moves go on; what misbehaves now does not count any more.</summary>
public sealed record ResetBreaker(string By, bool PlanOnly) : IMovesCommand;

/// <summary>
/// A claim whose device is out of service asks by itself for its turn to leave. Answered with <see cref="EvacuationTurn"/>, and asked again until it is.
/// </summary>
/// <param name="Host">That it is to leave.</param>
/// <param name="LastMigration">Number of the last that there was of it; 0 where there was none.</param>
public sealed record AskEvacuation(string ClaimId, string Host, int LastMigration) : IWireMessage;

// ---- Replies -------------------------------------------------------------------------------------------------------------------------

/// <summary>It is in the journal. What it was about is shown as it is now, and cut where a message takes no more.</summary>
public sealed record MovesAccepted(DrainView? Drain, RebalanceView? Rebalance, BreakerView? Breaker) : IWireMessage
{
    public static MovesAccepted Of(DrainView drain) => new(MovesPortion.Cut(drain), null, null);

    public static MovesAccepted Of(RebalanceView rebalance) => new(null, MovesPortion.Cut(rebalance), null);

    public static MovesAccepted Of(BreakerView breaker) => new(null, null, MovesPortion.Cut(breaker));
}

/// <summary>What it would do; nothing was changed.</summary>
/// <param name="More">So many claims follow, of which no message takes more.</param>
public sealed record MovesPlanned(MovingClaim[] Claims, int More) : IWireMessage
{
    public static MovesPlanned Of(IReadOnlyCollection<MovingClaim> claims)
    {
        ArgumentNullException.ThrowIfNull(claims);
        var (shown, more) = Portions.Fitting(claims);
        return new MovesPlanned(shown, more);
    }
}

/// <param name="Wait">Why not yet; null where it is now.</param>
public sealed record EvacuationTurn(string ClaimId, string? Wait) : IWireMessage;

/// <summary>Nothing was changed.</summary>
public sealed record MovesRefused(RefusalCode Code, string Sentence) : IWireMessage;

// ---- What there is of moves; told to every control node -------------------------------------------------------------------------------

/// <summary>What there is of moves, as every control node is told of it: <see cref="MovesPortion"/>.</summary>
public sealed record MovesView(DrainView[] Drains, RebalanceView? Rebalance, BreakerView Breaker);

/// <summary>Some of what there is of moves.</summary>
/// <param name="Part">
/// A drain, or the rebalance, of which not all claims fit into one portion is in each of theirs; what misbehaves is spread likewise.
/// </param>
public sealed record MovesPortion(MovesView Part, Telling Telling) : IWireMessage
{
    /// <summary>All of a view.</summary>
    public static IReadOnlyList<MovesPortion> Of(MovesView view, Guid life, long version)
    {
        var cut = Portions.Cut(Pieces(view), static piece => piece.Weight);
        return
        [
            .. cut.Select((portion, number) => new MovesPortion(
                Join([.. portion.Items.Select(static piece => piece.View)]), new Telling(life, version, number, cut.Count, portion.Bytes))),
        ];
    }

    /// <summary>The same with as many claims as one message takes.</summary>
    internal static DrainView Cut(DrainView drain)
    {
        var (shown, more) = Portions.Fitting(drain.Claims);
        return drain with { Claims = shown, More = more };
    }

    internal static RebalanceView Cut(RebalanceView rebalance)
    {
        var (shown, more) = Portions.Fitting(rebalance.Claims);
        return rebalance with { Claims = shown, More = more };
    }

    internal static BreakerView Cut(BreakerView breaker)
    {
        var (shown, more) = Portions.Fitting(breaker.Misbehaving);
        return breaker with { Misbehaving = shown, More = more };
    }

    /// <summary>One view of the parts of it, in their order.</summary>
    internal static MovesView Join(IReadOnlyList<MovesView> parts)
    {
        var rebalances = parts.Select(static part => part.Rebalance).OfType<RebalanceView>().ToArray();
        return new MovesView(
            [
                .. parts.SelectMany(static part => part.Drains).GroupBy(static drain => drain.Host).Select(static ofHost =>
                    ofHost.First() with { Claims = [.. ofHost.SelectMany(static drain => drain.Claims)] }),
            ],
            rebalances.Length == 0 ? null : rebalances[0] with { Claims = [.. rebalances.SelectMany(static rebalance => rebalance.Claims)] },
            parts[0].Breaker with { Misbehaving = [.. parts.SelectMany(static part => part.Breaker.Misbehaving)] });
    }

    /// <summary>The smallest views of which it is made: each of one drain, one claim, or one that misbehaves.</summary>
    private static IEnumerable<(MovesView View, int Weight)> Pieces(MovesView view)
    {
        var nothing = new MovesView([], null, view.Breaker with { Misbehaving = [] });
        yield return (nothing, WireWeight.Of(nothing));
        foreach (var drain in view.Drains)
        {
            var empty = drain with { Claims = [] };
            yield return (nothing with { Drains = [empty] }, WireWeight.Of(empty));
            foreach (var claim in drain.Claims)
                yield return (nothing with { Drains = [drain with { Claims = [claim] }] }, WireWeight.Of(claim));
        }

        if (view.Rebalance is { } rebalance)
        {
            var empty = rebalance with { Claims = [] };
            yield return (nothing with { Rebalance = empty }, WireWeight.Of(empty));
            foreach (var claim in rebalance.Claims)
                yield return (nothing with { Rebalance = rebalance with { Claims = [claim] } }, WireWeight.Of(claim));
        }

        foreach (var one in view.Breaker.Misbehaving)
            yield return (nothing with { Breaker = view.Breaker with { Misbehaving = [one] } }, WireWeight.Of(one));
    }
}

/// <param name="State"><c>draining</c>, <c>drained</c>, or <c>blocked</c>: nothing that is left can move, each for its reason.</param>
public sealed record DrainView(string Host, string State, string RequestedBy, DateTimeOffset StartedAt, MovingClaim[] Claims) : IWireMessage
{
    /// <summary>So many claims follow that are not shown.</summary>
    public int More { get; init; }
}

/// <param name="State"><c>running</c>, or what came of it.</param>
public sealed record RebalanceView(string State, string RequestedBy, DateTimeOffset StartedAt, MovingClaim[] Claims) : IWireMessage
{
    /// <summary>So many claims follow that are not shown.</summary>
    public int More { get; init; }
}

/// <summary>A claim that the fabric moves by itself.</summary>
/// <param name="State"><c>planned</c>, <c>waiting</c>, <c>blocked</c>, <c>moving</c>, <c>moved</c> or <c>stayed</c>.</param>
/// <param name="Reason">Why it moves, waits, or stayed where it was.</param>
/// <param name="Migration">The claim's migration; 0 where none was begun.</param>
public sealed record MovingClaim(string ClaimId, string State, string From, string? To, string? Reason, int Migration) : IWireMessage;

/// <param name="Reason">Why automatic moves stand; null where they do not.</param>
public sealed record BreakerView(
    string? Reason, DateTimeOffset? TrippedAt, string? ResetBy, DateTimeOffset? ResetAt, string[] Misbehaving) : IWireMessage
{
    /// <summary>So many follow that are not shown.</summary>
    public int More { get; init; }
}
