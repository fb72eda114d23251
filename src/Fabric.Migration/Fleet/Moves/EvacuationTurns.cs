using System.Collections.Immutable;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// Whose turn it is to leave a sick device. Evacuations have the limits of drains and rebalances in common with them, and go before them. Pure; and
/// not in the journal: claims ask again, and one that is taken up elsewhere exceeds a limit by the turns that were just given, at most.
/// </summary>
public sealed record EvacuationTurns
{
    /// <summary>From its turn to where the fleet sees it migrate. One that found no target has lost its turn then.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromSeconds(10);

    /// <summary>A claim asks again within a minute; one that does not has no need any more.</summary>
    public static readonly TimeSpan Remembered = TimeSpan.FromSeconds(90);

    public static EvacuationTurns None { get; } = new();

    private ImmutableDictionary<string, Turn> Given { get; init; } = ImmutableDictionary<string, Turn>.Empty;

    private ImmutableDictionary<string, Turn> Waiting { get; init; } = ImmutableDictionary<string, Turn>.Empty;

    /// <param name="ask">From the claim.</param>
    /// <param name="fleet">As it was seen last.</param>
    /// <param name="state">Moves that are under way.</param>
    /// <param name="limits">Of drains, rebalances and evacuations together.</param>
    /// <param name="now">Milliseconds since 1970-01-01 UTC.</param>
    /// <param name="wait">Why not yet; null where it is the claim's turn.</param>
    public EvacuationTurns Ask(AskEvacuation ask, FleetSnapshot fleet, MovesState state, MoveLimits limits, long now, out string? wait)
    {
        ArgumentNullException.ThrowIfNull(ask);
        ArgumentNullException.ThrowIfNull(fleet);
        var open = Open(fleet, now);
        var leaving = Leavings.Of(fleet, state, limits);
        foreach (var (claim, turn) in open.Given.Where(turn => turn.Key != ask.ClaimId))
            leaving.Add(claim, turn.Host);
        wait = leaving.WhyNot(ask.Host);
        var its = new Turn(ask.Host, ask.LastMigration, now + (long)(wait is null ? Kept : Remembered).TotalMilliseconds);
        return wait is null
            ? new EvacuationTurns { Given = open.Given.SetItem(ask.ClaimId, its), Waiting = open.Waiting.Remove(ask.ClaimId) }
            : open with { Waiting = open.Waiting.SetItem(ask.ClaimId, its) };
    }

    /// <summary>Those whose turn it is or will be next: what comes after them counts them as on their way.</summary>
    internal IEnumerable<(string Claim, string Host)> Ahead(FleetSnapshot fleet, long now)
    {
        var open = Open(fleet, now);
        return open.Given.Concat(open.Waiting).Select(static turn => (turn.Key, turn.Value.Host));
    }

    private EvacuationTurns Open(FleetSnapshot fleet, long now)
    {
        return new EvacuationTurns { Given = Given.RemoveRange(Over(Given)), Waiting = Waiting.RemoveRange(Over(Waiting)) };

        IEnumerable<string> Over(IEnumerable<KeyValuePair<string, Turn>> turns) =>
            turns.Where(turn => turn.Value.Until <= now || IsTaken(fleet, turn.Key, turn.Value)).Select(static turn => turn.Key);
    }

    /// <summary>The claim has been seen to leave, or to have tried.</summary>
    private static bool IsTaken(FleetSnapshot fleet, string claim, Turn turn) =>
        fleet.Claim(claim)?.LastMigrations is [.., var last] && last.Number > turn.LastMigration;

    /// <param name="Host">Which the claim leaves.</param>
    /// <param name="LastMigration">Number of the last that there was of the claim.</param>
    /// <param name="Until">Milliseconds since 1970-01-01 UTC.</param>
    private sealed record Turn(string Host, int LastMigration, long Until);
}
