using System.Collections.Immutable;
using Fabric.Migration.Journal;
using static Fabric.Migration.Journal.ProtoText;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>A host that takes nothing new, and from which claims move away, until it is undrained.</summary>
/// <param name="EmptiedAt">When nothing was left on it; 0 before.</param>
public sealed record Drain(string Host, string RequestedBy, int DowntimeLimitMs, long StartedAt, long EmptiedAt = 0);

/// <summary>A migration that the fabric asks a claim for.</summary>
public sealed record Move(long Number, string ClaimId, string From, string To, string Cause, int DowntimeLimitMs, bool OfRebalance, long StartedAt)
{
    /// <summary>A migration's outcome, or <c>refused</c> where none was begun; null while it lasts.</summary>
    public string? Outcome { get; init; }

    public string? Reason { get; init; }

    /// <summary>The claim's migration that it was; 0 where none was begun.</summary>
    public int Migration { get; init; }

    public long EndedAt { get; init; }

    public bool IsOpen => Outcome is null;

    /// <summary>By which the claim knows it again.</summary>
    public string Request => RequestOf(Number);

    public static string RequestOf(long number) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"move-{number}");
}

/// <summary>A move of a rebalance, before it is begun.</summary>
public sealed record Intent(string ClaimId, string From, string To, string Why);

/// <param name="Outcome">What came of it; null while it lasts.</param>
public sealed record Rebalance(
    string RequestedBy, ImmutableArray<Intent> Moves, int DowntimeLimitMs, long StartedAt, string? Outcome = null, long EndedAt = 0);

/// <param name="TrippedFor">Why automatic moves stand; null where they do not.</param>
/// <param name="Acknowledged">What misbehaved when a person reset it.</param>
public sealed record BreakerState(
    string? TrippedFor, long TrippedAt, string? ResetBy, long ResetAt, ImmutableHashSet<string> Acknowledged)
{
    public static BreakerState Closed { get; } = new(null, 0, null, 0, []);
}

/// <summary>
/// What the journal knows of moves that the fabric makes by itself, and the only way it changes: one event at a time. Pure; the actor persists first
/// and applies then.
/// </summary>
public sealed record MovesState
{
    public static MovesState Empty { get; } = new();

    public long LastMove { get; private init; }

    public ImmutableSortedDictionary<string, Drain> Drains { get; private init; } =
        ImmutableSortedDictionary.Create<string, Drain>(StringComparer.Ordinal);

    /// <summary>Those under way, and those that have ended of drains and of the rebalance that are shown still; oldest first.</summary>
    public ImmutableList<Move> Moves { get; private init; } = [];

    /// <summary>The last one.</summary>
    public Rebalance? Rebalance { get; private init; }

    public BreakerState Breaker { get; private init; } = BreakerState.Closed;

    public IEnumerable<Move> OpenMoves => Moves.Where(static move => move.IsOpen);

    public MovesState Apply(IJournaled happened) => happened switch
    {
        DrainStarted e => this with
        {
            Drains = Drains.SetItem(e.Host, new Drain(e.Host, e.RequestedBy, e.DowntimeLimitMs, e.At)),
            Moves = Forget(move => !move.OfRebalance && move.From == e.Host),
        },
        HostEmptied e => Drains.TryGetValue(e.Host, out var drain)
            ? this with { Drains = Drains.SetItem(e.Host, drain with { EmptiedAt = e.At }) }
            : this,
        DrainEnded e => this with { Drains = Drains.Remove(e.Host), Moves = Forget(move => !move.OfRebalance && move.From == e.Host) },
        MoveStarted e => (this with
        {
            LastMove = e.Number,
            Moves = Moves.Add(new Move(e.Number, e.ClaimId, e.FromHost, e.ToHost, e.Cause, e.DowntimeLimitMs, e.OfRebalance, e.At)),
        }).Reopen(e.OfRebalance ? "" : e.FromHost),
        MoveEnded e => this with
        {
            Moves = Moves.ConvertAll(move => move.Number != e.Number ? move : move with
            {
                Outcome = e.Outcome,
                Reason = NullIfEmpty(e.Reason),
                Migration = e.Migration,
                EndedAt = e.At,
            }),
        },
        RebalanceStarted e => this with
        {
            Rebalance = new Rebalance(e.RequestedBy, [.. e.Moves.Select(FromIntended)], e.DowntimeLimitMs, e.At),
            Moves = Forget(static move => move.OfRebalance),
        },
        RebalanceEnded e => this with { Rebalance = Rebalance is null ? null : Rebalance with { Outcome = e.Outcome, EndedAt = e.At } },
        BreakerTripped e => this with { Breaker = Breaker with { TrippedFor = e.Reason, TrippedAt = e.At } },
        BreakerReset e => this with
        {
            Breaker = Breaker with { TrippedFor = null, ResetBy = e.RequestedBy, ResetAt = e.At, Acknowledged = [.. e.Acknowledged] },
        },
        _ => throw new InvalidOperationException($"The fabric's moves have no event {happened.Descriptor.Name}."),
    };

    public MovesSnapshot ToSnapshot()
    {
        var snapshot = new MovesSnapshot
        {
            LastMove = LastMove,
            Drains =
            {
                Drains.Values.Select(static drain => new DrainRecord
                {
                    Host = drain.Host,
                    RequestedBy = drain.RequestedBy,
                    DowntimeLimitMs = drain.DowntimeLimitMs,
                    StartedAt = drain.StartedAt,
                    EmptiedAt = drain.EmptiedAt,
                }),
            },
            Moves = { Moves.Select(ToRecord) },
            Breaker = new BreakerRecord
            {
                TrippedFor = Breaker.TrippedFor ?? "",
                TrippedAt = Breaker.TrippedAt,
                ResetBy = Breaker.ResetBy ?? "",
                ResetAt = Breaker.ResetAt,
                Acknowledged = { Breaker.Acknowledged.Order(StringComparer.Ordinal) },
            },
        };
        if (Rebalance is { } last)
        {
            snapshot.Rebalance = new RebalanceRecord
            {
                RequestedBy = last.RequestedBy,
                DowntimeLimitMs = last.DowntimeLimitMs,
                StartedAt = last.StartedAt,
                Outcome = last.Outcome ?? "",
                EndedAt = last.EndedAt,
                Moves = { last.Moves.Select(ToIntended) },
            };
        }

        return snapshot;
    }

    public static MovesState FromSnapshot(MovesSnapshot snapshot)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        return Empty with
        {
            LastMove = snapshot.LastMove,
            Drains = Empty.Drains.AddRange(snapshot.Drains.Select(static record => KeyValuePair.Create(
                record.Host, new Drain(record.Host, record.RequestedBy, record.DowntimeLimitMs, record.StartedAt, record.EmptiedAt)))),
            Moves = [.. snapshot.Moves.Select(FromRecord)],
            Rebalance = snapshot.Rebalance is not { } last ? null : new Rebalance(
                last.RequestedBy, [.. last.Moves.Select(FromIntended)], last.DowntimeLimitMs, last.StartedAt,
                NullIfEmpty(last.Outcome), last.EndedAt),
            Breaker = snapshot.Breaker is not { } breaker ? BreakerState.Closed : new BreakerState(
                NullIfEmpty(breaker.TrippedFor), breaker.TrippedAt, NullIfEmpty(breaker.ResetBy), breaker.ResetAt, [.. breaker.Acknowledged]),
        };
    }

    public static IntendedMove ToIntended(Intent intent)
    {
        ArgumentNullException.ThrowIfNull(intent);
        return new IntendedMove { ClaimId = intent.ClaimId, FromHost = intent.From, ToHost = intent.To, Why = intent.Why };
    }

    private static Intent FromIntended(IntendedMove move) => new(move.ClaimId, move.FromHost, move.ToHost, move.Why);

    /// <summary>What was found empty and has a claim again is not empty.</summary>
    private MovesState Reopen(string host) =>
        Drains.TryGetValue(host, out var drain) && drain.EmptiedAt != 0
            ? this with { Drains = Drains.SetItem(host, drain with { EmptiedAt = 0 }) }
            : this;

    /// <summary>What is under way is never forgotten.</summary>
    private ImmutableList<Move> Forget(Predicate<Move> which) => Moves.RemoveAll(move => !move.IsOpen && which(move));

    private static MoveRecord ToRecord(Move move) => new()
    {
        Number = move.Number,
        ClaimId = move.ClaimId,
        FromHost = move.From,
        ToHost = move.To,
        Cause = move.Cause,
        DowntimeLimitMs = move.DowntimeLimitMs,
        OfRebalance = move.OfRebalance,
        StartedAt = move.StartedAt,
        Outcome = move.Outcome ?? "",
        Reason = move.Reason ?? "",
        Migration = move.Migration,
        EndedAt = move.EndedAt,
    };

    private static Move FromRecord(MoveRecord record) => new(
        record.Number, record.ClaimId, record.FromHost, record.ToHost, record.Cause, record.DowntimeLimitMs, record.OfRebalance, record.StartedAt)
    {
        Outcome = NullIfEmpty(record.Outcome),
        Reason = NullIfEmpty(record.Reason),
        Migration = record.Migration,
        EndedAt = record.EndedAt,
    };
}
