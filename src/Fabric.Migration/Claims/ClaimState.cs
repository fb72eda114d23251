using System.Collections.Immutable;
using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Claims;

/// <summary>One migration of a claim, as the journal tells it.</summary>
public sealed record ClaimMigration(
    int Number,
    string FromHost,
    string FromDevice,
    string ToHost,
    string ToDevice,
    int DowntimeLimitMs,
    int TimeoutMs,
    long BandwidthLimit,
    string RequestedBy,
    long StartedAt)
{
    public MigrationStep Step { get; init; }

    /// <summary><c>committed</c>, <c>rolled-back</c>, <c>cancelled</c>, or <c>failed</c>: the claim runs nowhere.</summary>
    public string? Outcome { get; init; }

    public string? Reason { get; init; }

    public long EndedAt { get; init; }

    /// <summary>When the target was open to receive, by the journal's clock; 0 before.</summary>
    public long ReservedAt { get; init; }

    /// <summary>When the source was told to stop, by the journal's clock; 0 before.</summary>
    public long StoppedAt { get; init; }

    /// <summary>When it was given up, by the journal's clock; 0 before.</summary>
    public long RollbackAt { get; init; }

    public double DowntimeMs { get; init; }

    public long Bytes { get; init; }

    public int Rounds { get; init; }

    public bool Verified { get; init; }

    public string? Checksum { get; init; }

    public ImmutableArray<Phase> Phases { get; init; } = [];

    public string? Endpoint { get; init; }

    public ByteString Token { get; init; } = ByteString.Empty;
}

/// <summary>
/// What the journal knows of a claim, and the only way it changes: one event at a time. Pure; the actor persists first and applies then.
/// </summary>
public sealed record ClaimState
{
    /// <summary>Migrations that are remembered; older ones are in the journal.</summary>
    private const int MigrationsKept = 20;

    public static ClaimState Empty { get; } = new();

    public string Id { get; private init; } = "";

    public string Model { get; private init; } = "";

    /// <summary>Where the claim runs, or is to run: the source until the commit, the target from then on.</summary>
    public string Host { get; private init; } = "";

    public string Device { get; private init; } = "";

    /// <summary>Grows with each migration; every command carries it.</summary>
    public long Generation { get; private init; }

    public long MemoryBytes { get; private init; }

    public int StepsPerSecond { get; private init; }

    public ClaimPhase Phase { get; private init; }

    public string? Message { get; private init; }

    public long CreatedAt { get; private init; }

    /// <summary>Oldest first.</summary>
    public ImmutableList<ClaimMigration> Migrations { get; private init; } = [];

    /// <summary>The migration under way.</summary>
    public ClaimMigration? Migration => Phase == ClaimPhase.Migrating ? Migrations[^1] : null;

    public int NextMigration => Migrations.IsEmpty ? 1 : Migrations[^1].Number + 1;

    public ClaimState Apply(IJournaled happened) => happened switch
    {
        ClaimCreated e => Empty with
        {
            Id = e.ClaimId,
            Model = e.Model,
            Host = e.Host,
            Device = e.Device,
            Generation = e.Generation,
            MemoryBytes = e.MemoryBytes,
            StepsPerSecond = e.StepsPerSecond,
            Phase = ClaimPhase.Placing,
            CreatedAt = e.At,
        },
        ClaimStarted => this with { Phase = ClaimPhase.Running, Message = null },
        ClaimFailed e => (Migration is null ? this : Change(m => m with { Step = MigrationStep.Done, Outcome = "failed", Reason = e.Reason, EndedAt = e.At }))
            with { Phase = ClaimPhase.Failed, Message = e.Reason },
        ReleaseStarted => this with { Phase = ClaimPhase.Releasing },
        ClaimReleased => this with { Phase = ClaimPhase.Released, Message = null },
        MigrationStarted e => this with
        {
            Phase = ClaimPhase.Migrating,
            Generation = e.Generation,
            Migrations = Keep(Migrations.Add(new ClaimMigration(
                e.Number, e.FromHost, e.FromDevice, e.ToHost, e.ToDevice, e.DowntimeLimitMs, e.TimeoutMs, e.BandwidthLimit, e.RequestedBy, e.At))),
        },
        TargetReserved e => Change(m => m with { Step = MigrationStep.PreCopy, Endpoint = e.Endpoint, Token = e.Token, ReservedAt = e.At }),
        SwitchoverStarted e => Change(m => m with { Step = MigrationStep.StopCopy, StoppedAt = e.At, Rounds = e.Rounds, Bytes = e.Bytes }),
        // The commit: from here on the target is where the claim runs (L1).
        MigrationCommitted e => Change(m => m with
        {
            Step = MigrationStep.Run,
            Bytes = e.Bytes,
            Checksum = e.Checksum,
            Verified = true,
            Phases = [.. m.Phases, .. e.Phases],
        }) with
        { Host = Migrations[^1].ToHost, Device = Migrations[^1].ToDevice },
        TargetStarted e => Change(m => m with { Step = MigrationStep.Release, DowntimeMs = e.DowntimeMs, Phases = [.. m.Phases, .. e.Phases] }),
        SourceReleased e => Change(m => m with { Step = MigrationStep.Done, Outcome = "committed", EndedAt = e.At }) with { Phase = ClaimPhase.Running },
        RollbackStarted e => Change(m => m with
        {
            Step = MigrationStep.Rollback,
            Reason = e.Reason,
            Outcome = e.Cancelled ? "cancelled" : "rolled-back",
            RollbackAt = e.At,
        }),
        MigrationRolledBack e => Change(m => m with
        {
            Step = MigrationStep.Done,
            DowntimeMs = e.DowntimeMs,
            Bytes = e.Bytes,
            Rounds = e.Rounds,
            Phases = [.. m.Phases, .. e.Phases],
            EndedAt = e.At,
        }) with
        { Phase = ClaimPhase.Running },
        _ => throw new InvalidOperationException($"A claim has no event {happened.Descriptor.Name}."),
    };

    public ClaimSnapshot ToSnapshot()
    {
        var snapshot = new ClaimSnapshot
        {
            ClaimId = Id,
            Model = Model,
            Host = Host,
            Device = Device,
            Generation = Generation,
            MemoryBytes = MemoryBytes,
            StepsPerSecond = StepsPerSecond,
            Phase = (int)Phase,
            Message = Message ?? "",
            CreatedAt = CreatedAt,
        };
        snapshot.Migrations.AddRange(Migrations.Select(ToRecord));
        return snapshot;
    }

    public static ClaimState FromSnapshot(ClaimSnapshot snapshot)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        return Empty with
        {
            Id = snapshot.ClaimId,
            Model = snapshot.Model,
            Host = snapshot.Host,
            Device = snapshot.Device,
            Generation = snapshot.Generation,
            MemoryBytes = snapshot.MemoryBytes,
            StepsPerSecond = snapshot.StepsPerSecond,
            Phase = (ClaimPhase)snapshot.Phase,
            Message = NullIfEmpty(snapshot.Message),
            CreatedAt = snapshot.CreatedAt,
            Migrations = [.. snapshot.Migrations.Select(FromRecord)],
        };
    }

    private ClaimState Change(Func<ClaimMigration, ClaimMigration> change) =>
        this with { Migrations = Migrations.SetItem(Migrations.Count - 1, change(Migrations[^1])) };

    private static ImmutableList<ClaimMigration> Keep(ImmutableList<ClaimMigration> migrations) =>
        migrations.Count > MigrationsKept ? migrations.RemoveAt(0) : migrations;

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    private static MigrationRecord ToRecord(ClaimMigration migration)
    {
        var record = new MigrationRecord
        {
            Number = migration.Number,
            FromHost = migration.FromHost,
            FromDevice = migration.FromDevice,
            ToHost = migration.ToHost,
            ToDevice = migration.ToDevice,
            Step = (int)migration.Step,
            Outcome = migration.Outcome ?? "",
            Reason = migration.Reason ?? "",
            StartedAt = migration.StartedAt,
            EndedAt = migration.EndedAt,
            StoppedAt = migration.StoppedAt,
            ReservedAt = migration.ReservedAt,
            RollbackAt = migration.RollbackAt,
            DowntimeMs = migration.DowntimeMs,
            DowntimeLimitMs = migration.DowntimeLimitMs,
            TimeoutMs = migration.TimeoutMs,
            BandwidthLimit = migration.BandwidthLimit,
            Bytes = migration.Bytes,
            Rounds = migration.Rounds,
            Verified = migration.Verified,
            Checksum = migration.Checksum ?? "",
            RequestedBy = migration.RequestedBy,
            Endpoint = migration.Endpoint ?? "",
            Token = migration.Token,
        };
        record.Phases.AddRange(migration.Phases);
        return record;
    }

    private static ClaimMigration FromRecord(MigrationRecord record) => new(
        record.Number, record.FromHost, record.FromDevice, record.ToHost, record.ToDevice,
        record.DowntimeLimitMs, record.TimeoutMs, record.BandwidthLimit, record.RequestedBy, record.StartedAt)
    {
        Step = (MigrationStep)record.Step,
        Outcome = NullIfEmpty(record.Outcome),
        Reason = NullIfEmpty(record.Reason),
        EndedAt = record.EndedAt,
        StoppedAt = record.StoppedAt,
        ReservedAt = record.ReservedAt,
        RollbackAt = record.RollbackAt,
        DowntimeMs = record.DowntimeMs,
        Bytes = record.Bytes,
        Rounds = record.Rounds,
        Verified = record.Verified,
        Checksum = NullIfEmpty(record.Checksum),
        Phases = [.. record.Phases],
        Endpoint = NullIfEmpty(record.Endpoint),
        Token = record.Token,
    };
}
