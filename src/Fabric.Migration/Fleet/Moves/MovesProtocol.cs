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

// ---- Replies -------------------------------------------------------------------------------------------------------------------------

/// <summary>It is in the journal.</summary>
public sealed record MovesAccepted(MovesView Moves) : IWireMessage;

/// <summary>What it would do; nothing was changed.</summary>
public sealed record MovesPlanned(MovingClaim[] Claims) : IWireMessage;

/// <summary>Nothing was changed.</summary>
public sealed record MovesRefused(RefusalCode Code, string Sentence) : IWireMessage;

// ---- What there is of moves; told to every control node -------------------------------------------------------------------------------

public sealed record MovesView(DrainView[] Drains, RebalanceView? Rebalance, BreakerView Breaker) : IWireMessage;

/// <param name="State"><c>draining</c>, <c>drained</c>, or <c>blocked</c>: nothing that is left can move, each for its reason.</param>
public sealed record DrainView(string Host, string State, string RequestedBy, DateTimeOffset StartedAt, MovingClaim[] Claims) : IWireMessage;

/// <param name="State"><c>running</c>, or what came of it.</param>
public sealed record RebalanceView(string State, string RequestedBy, DateTimeOffset StartedAt, MovingClaim[] Claims) : IWireMessage;

/// <summary>A claim that the fabric moves by itself.</summary>
/// <param name="State"><c>planned</c>, <c>waiting</c>, <c>blocked</c>, <c>moving</c>, <c>moved</c> or <c>stayed</c>.</param>
/// <param name="Reason">Why it moves, waits, or stayed where it was.</param>
/// <param name="Migration">The claim's migration; 0 where none was begun.</param>
public sealed record MovingClaim(string ClaimId, string State, string From, string? To, string? Reason, int Migration) : IWireMessage;

/// <param name="Reason">Why automatic moves stand; null where they do not.</param>
public sealed record BreakerView(
    string? Reason, DateTimeOffset? TrippedAt, string? ResetBy, DateTimeOffset? ResetAt, string[] Misbehaving) : IWireMessage;
