using System.Collections.Immutable;
using Fabric.Migration.Journal;
using Google.Protobuf;
using Google.Protobuf.Collections;
using static Fabric.Migration.Journal.ProtoText;

namespace Fabric.Migration.Claims;

/// <summary>One migration of a claim, as the journal tells it.</summary>
/// <param name="FromDevices">In the claim's order; the first names them all.</param>
/// <param name="ToDevices">In the same order.</param>
public sealed record ClaimMigration(
    int Number,
    string FromHost,
    ImmutableArray<string> FromDevices,
    string ToHost,
    ImmutableArray<string> ToDevices,
    int DowntimeLimitMs,
    int TimeoutMs,
    long BandwidthLimit,
    string RequestedBy,
    long StartedAt)
{
    public string FromDevice => FromDevices[0];

    public string ToDevice => ToDevices[0];

    public MigrationStep Step { get; init; }

    /// <summary><c>committed</c>, <c>rolled-back</c>, <c>cancelled</c>, or <c>failed</c>: the claim runs nowhere.</summary>
    public string? Outcome { get; init; }

    public string? Reason { get; init; }

    /// <summary>Why the fabric started it by itself; null where somebody asked for it.</summary>
    public string? Cause { get; init; }

    /// <summary>By which a request that comes again is known; null where it came without.</summary>
    public string? Request { get; init; }

    /// <summary>W3C, of the first span of the migration; null where nobody listened.</summary>
    public string? Traceparent { get; init; }

    public long EndedAt { get; init; }

    /// <summary>When the target was open to receive, by the journal's clock; 0 before.</summary>
    public long ReservedAt { get; init; }

    /// <summary>When the source was told to stop, by the journal's clock; 0 before.</summary>
    public long StoppedAt { get; init; }

    /// <summary>When it was given up, by the journal's clock; 0 before.</summary>
    public long RollbackAt { get; init; }

    public NoConvergence OnNoConvergence { get; init; }

    /// <summary>How fast the state changed in the last round before the stop, or before it was given up; 0 where it was not measured.</summary>
    public long DirtyBytesPerSecond { get; init; }

    /// <summary>Of a stop that was made although the pre-copy did not converge; else 0.</summary>
    public int StopLimitMs { get; init; }

    public double DowntimeMs { get; init; }

    /// <summary>Bytes that were left to carry when the stop began; 0 before.</summary>
    public long LeftAtStop { get; init; }

    /// <summary>How fast they went then, bytes per second.</summary>
    public long RateAtStop { get; init; }

    public long Bytes { get; init; }

    public int Rounds { get; init; }

    public bool Verified { get; init; }

    public string? Checksum { get; init; }

    public ImmutableArray<Phase> Phases { get; init; } = [];

    public string? Endpoint { get; init; }

    public ByteString Token { get; init; } = ByteString.Empty;

    public bool IsSource(string host, string device) => host == FromHost && FromDevices.Contains(device);

    public bool IsTarget(string host, string device) => host == ToHost && ToDevices.Contains(device);
}

/// <summary>What became of a device that a claim runs on, and of the claim; the last time it happened.</summary>
/// <param name="Readable">Its state can be moved away; else it is lost.</param>
/// <param name="Since">When the claim heard of it, by the journal's clock.</param>
public sealed record DeviceTrouble(string Host, string Device, string Reason, bool Readable, long Since)
{
    /// <summary>Evacuations that were started, or restarts that found no footing.</summary>
    public int Attempts { get; init; }

    /// <summary>Why no more evacuations are started: somebody called one off.</summary>
    public string? Held { get; init; }

    /// <summary><c>evacuated</c>, <c>restarted-afresh</c>, <c>stopped</c> or <c>released</c>; null while it lasts.</summary>
    public string? Outcome { get; init; }

    public long EndedAt { get; init; }

    public string? ToHost { get; init; }

    public string? ToDevice { get; init; }

    public double DowntimeMs { get; init; }

    public bool IsOpen => Outcome is null;
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

    /// <summary>What the claim runs on, or is to run on, in the order that they were asked for; never empty once it was created.</summary>
    public ImmutableArray<ClaimedDevice> Devices { get; private init; } = [];

    /// <summary>Where that is: the source until the commit, the target from then on.</summary>
    public string Host { get; private init; } = "";

    /// <summary>The first function's address, which names them all.</summary>
    public string Device => Devices.IsEmpty ? "" : Devices[0].Device;

    public ImmutableArray<string> Addresses => [.. Devices.Select(static device => device.Device)];

    public HostLossPolicy OnHostLoss { get; private init; }

    /// <summary>Length of a lease, milliseconds; 0 where its policy is to wait.</summary>
    public int LeaseMs { get; private init; }

    /// <summary>When a lease was last granted, by the journal's clock; 0 before.</summary>
    public long LeasedAt { get; private init; }

    /// <summary>The life of the host in which the claim is opened afresh; 0 where that was not written down.</summary>
    public long HostLife { get; private init; }

    /// <summary>Grows with each migration; every command carries it.</summary>
    public long Generation { get; private init; }

    public long MemoryBytes { get; private init; }

    public int StepsPerSecond { get; private init; }

    public DeviceFailurePolicy OnDeviceFailure { get; private init; }

    /// <summary>Labels that its host must have, <c>key=value</c> each.</summary>
    public ImmutableArray<string> Select { get; private init; } = [];

    /// <summary>A group of claims of which no two are on one host.</summary>
    public string? ApartFrom { get; private init; }

    /// <summary>The generation at which what runs was opened: reports of an older one are not about it.</summary>
    public long RunnerGeneration { get; private init; }

    public DeviceTrouble? Trouble { get; private init; }

    /// <summary>Restarting, and what the claim ran on is closed: it may be opened elsewhere.</summary>
    public bool RunnerIsClosed { get; private init; }

    public ClaimPhase Phase { get; private init; }

    public string? Message { get; private init; }

    public long CreatedAt { get; private init; }

    /// <summary>Oldest first.</summary>
    public ImmutableList<ClaimMigration> Migrations { get; private init; } = [];

    /// <summary>The migration under way.</summary>
    public ClaimMigration? Migration => Phase == ClaimPhase.Migrating ? Migrations[^1] : null;

    /// <summary>Whether this is a function that the claim runs on, or is to run on.</summary>
    public bool Has(string host, string device) => host == Host && Devices.Any(own => own.Device == device);

    public int NextMigration => Migrations.IsEmpty ? 1 : Migrations[^1].Number + 1;

    public ClaimState Apply(IJournaled happened) => happened switch
    {
        ClaimCreated e => Empty with
        {
            Id = e.ClaimId,
            Devices = DevicesOf(e.Devices, e.Model, e.Device),
            Host = e.Host,
            Generation = e.Generation,
            MemoryBytes = e.MemoryBytes,
            StepsPerSecond = e.StepsPerSecond,
            OnDeviceFailure = (DeviceFailurePolicy)e.OnDeviceFailure,
            OnHostLoss = (HostLossPolicy)e.OnHostLoss,
            LeaseMs = e.LeaseMs,
            Select = [.. e.Select],
            ApartFrom = NullIfEmpty(e.ApartFrom),
            HostLife = e.HostLife,
            RunnerGeneration = e.Generation,
            Phase = ClaimPhase.Placing,
            CreatedAt = e.At,
        },
        ClaimStarted e => this with { Phase = ClaimPhase.Running, Message = null, Trouble = EndTrouble("restarted-afresh", e.At, Host, Device) },
        ClaimFailed e => FailMigration(e.Reason, e.At) with { Phase = ClaimPhase.Failed, Message = e.Reason, Trouble = EndTrouble("stopped", e.At) },
        ReleaseStarted e => this with { Phase = ClaimPhase.Releasing, RunnerIsClosed = false, Trouble = EndTrouble("released", e.At) },
        DeviceFoundSick e => this with { Trouble = Heard(e) },
        RestartStarted e => FailMigration(e.Reason, e.At) with
        {
            Phase = ClaimPhase.Restarting,
            RunnerIsClosed = e.Closed,
            Generation = e.Generation,
            Trouble = (Trouble is { IsOpen: true } known ? known : new DeviceTrouble(e.FromHost, e.FromDevice, e.Reason, Readable: false, e.At))
                with { Readable = false, Attempts = e.Attempt },
        },
        RunnerClosed => this with { RunnerIsClosed = true },
        ClaimTakenUp => this,
        HostLeased e => this with { LeasedAt = e.At },
        // From here on this is where the claim runs; what it ran on has been closed (L1).
        PlacedAfresh e => this with
        {
            Phase = ClaimPhase.Placing,
            Host = e.Host,
            Devices = MovedTo(AddressesOf(e.Devices, e.Device)),
            HostLife = e.HostLife,
            Generation = e.Generation,
            RunnerGeneration = e.Generation,
            RunnerIsClosed = false,
        },
        ClaimReleased => this with { Phase = ClaimPhase.Released, Message = null },
        MigrationStarted e => this with
        {
            Phase = ClaimPhase.Migrating,
            Generation = e.Generation,
            Migrations = Keep(Migrations.Add(new ClaimMigration(
                e.Number, e.FromHost, AddressesOf(e.FromDevices, e.FromDevice), e.ToHost, AddressesOf(e.ToDevices, e.ToDevice),
                e.DowntimeLimitMs, e.TimeoutMs, e.BandwidthLimit, e.RequestedBy, e.At)
            {
                Cause = NullIfEmpty(e.Cause),
                Request = NullIfEmpty(e.Request),
                Traceparent = NullIfEmpty(e.Traceparent),
                OnNoConvergence = (NoConvergence)e.OnNoConvergence,
            })),
            Trouble = e.Cause.Length > 0 && Trouble is { IsOpen: true } known ? known with { Attempts = known.Attempts + 1 } : Trouble,
        },
        TargetReserved e => Change(m => m with { Step = MigrationStep.PreCopy, Endpoint = e.Endpoint, Token = e.Token, ReservedAt = e.At }),
        SwitchoverStarted e => Change(m => m with
        {
            Step = MigrationStep.StopCopy,
            StoppedAt = e.At,
            Rounds = e.Rounds,
            Bytes = e.Bytes,
            LeftAtStop = e.RemainingBytes,
            RateAtStop = e.BytesPerSecond,
            DirtyBytesPerSecond = e.DirtyBytesPerSecond,
            StopLimitMs = e.StopLimitMs,
        }),
        // The commit: from here on the target is where the claim runs (L1).
        MigrationCommitted e => Change(m => m with
        {
            Step = MigrationStep.Run,
            Bytes = e.Bytes,
            Checksum = e.Checksum,
            Verified = true,
            Phases = [.. m.Phases, .. e.Phases],
        }) with
        { Host = Migrations[^1].ToHost, Devices = MovedTo(Migrations[^1].ToDevices), RunnerGeneration = Generation },
        TargetStarted e => Change(m => m with { Step = MigrationStep.Release, DowntimeMs = e.DowntimeMs, Phases = [.. m.Phases, .. e.Phases] }) with
        {
            Trouble = Trouble is { } left && Migrations[^1].IsSource(left.Host, left.Device)
                ? EndTrouble("evacuated", e.At, Host, Device, e.DowntimeMs)
                : Trouble,
        },
        SourceReleased e => Change(m => m with { Step = MigrationStep.Done, Outcome = "committed", EndedAt = e.At }) with { Phase = ClaimPhase.Running },
        RollbackStarted e => Change(m => m with
        {
            Step = MigrationStep.Rollback,
            Reason = e.Reason,
            Outcome = e.Cancelled ? "cancelled" : "rolled-back",
            RollbackAt = e.At,
        }) with
        { Trouble = e.Cancelled && Migrations[^1].Cause is not null && Trouble is { IsOpen: true } held ? held with { Held = e.Reason } : Trouble },
        MigrationRolledBack e => Change(m => m with
        {
            Step = MigrationStep.Done,
            DowntimeMs = e.DowntimeMs,
            Bytes = e.Bytes,
            Rounds = e.Rounds,
            Phases = [.. m.Phases, .. e.Phases],
            EndedAt = e.At,
            DirtyBytesPerSecond = e.DirtyBytesPerSecond == 0 ? m.DirtyBytesPerSecond : e.DirtyBytesPerSecond,
        }) with
        { Phase = ClaimPhase.Running },
        _ => throw new InvalidOperationException($"A claim has no event {happened.Descriptor.Name}."),
    };

    public ClaimSnapshot ToSnapshot()
    {
        var snapshot = new ClaimSnapshot
        {
            ClaimId = Id,
            Model = Devices.IsEmpty ? "" : Devices[0].Model,
            Host = Host,
            Device = Device,
            Generation = Generation,
            MemoryBytes = MemoryBytes,
            StepsPerSecond = StepsPerSecond,
            Phase = (int)Phase,
            Message = Message ?? "",
            CreatedAt = CreatedAt,
            OnDeviceFailure = (int)OnDeviceFailure,
            RunnerGeneration = RunnerGeneration,
            RunnerClosed = RunnerIsClosed,
            ApartFrom = ApartFrom ?? "",
            HostLife = HostLife,
            OnHostLoss = (int)OnHostLoss,
            LeaseMs = LeaseMs,
            LeasedAt = LeasedAt,
            Trouble = Trouble is null ? null : ToRecord(Trouble),
        };
        snapshot.Devices.AddRange(Devices.Select(static device => new DeviceRecord { Model = device.Model, Device = device.Device }));
        snapshot.Migrations.AddRange(Migrations.Select(ToRecord));
        snapshot.Select.AddRange(Select);
        return snapshot;
    }

    public static ClaimState FromSnapshot(ClaimSnapshot snapshot)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        return Empty with
        {
            Id = snapshot.ClaimId,
            Devices = DevicesOf(snapshot.Devices, snapshot.Model, snapshot.Device),
            Host = snapshot.Host,
            Generation = snapshot.Generation,
            MemoryBytes = snapshot.MemoryBytes,
            StepsPerSecond = snapshot.StepsPerSecond,
            Phase = (ClaimPhase)snapshot.Phase,
            Message = NullIfEmpty(snapshot.Message),
            CreatedAt = snapshot.CreatedAt,
            OnDeviceFailure = (DeviceFailurePolicy)snapshot.OnDeviceFailure,
            RunnerGeneration = snapshot.RunnerGeneration,
            RunnerIsClosed = snapshot.RunnerClosed,
            Select = [.. snapshot.Select],
            ApartFrom = NullIfEmpty(snapshot.ApartFrom),
            HostLife = snapshot.HostLife,
            OnHostLoss = (HostLossPolicy)snapshot.OnHostLoss,
            LeaseMs = snapshot.LeaseMs,
            LeasedAt = snapshot.LeasedAt,
            Trouble = snapshot.Trouble is null ? null : FromRecord(snapshot.Trouble),
            Migrations = [.. snapshot.Migrations.Select(FromRecord)],
        };
    }

    /// <summary>One trouble for all devices of the claim: they move together.</summary>
    private DeviceTrouble Heard(DeviceFoundSick e) => Trouble is { IsOpen: true } known && Has(known.Host, known.Device)
        ? known with { Device = e.Device, Reason = e.Reason, Readable = e.Readable }
        : new DeviceTrouble(e.Host, e.Device, e.Reason, e.Readable, e.At);

    private DeviceTrouble? EndTrouble(string outcome, long at, string? toHost = null, string? toDevice = null, double downtimeMs = 0) =>
        Trouble is { IsOpen: true } ended
            ? ended with { Outcome = outcome, EndedAt = at, ToHost = toHost, ToDevice = toDevice, DowntimeMs = downtimeMs }
            : Trouble;

    private ClaimState FailMigration(string reason, long at) =>
        Migration is null ? this : Change(m => m with { Step = MigrationStep.Done, Outcome = "failed", Reason = reason, EndedAt = at });

    private ClaimState Change(Func<ClaimMigration, ClaimMigration> change) =>
        this with { Migrations = Migrations.SetItem(Migrations.Count - 1, change(Migrations[^1])) };

    private static ImmutableList<ClaimMigration> Keep(ImmutableList<ClaimMigration> migrations) =>
        migrations.Count > MigrationsKept ? migrations.RemoveAt(0) : migrations;

    /// <summary>The same devices at other functions, in the same order.</summary>
    private ImmutableArray<ClaimedDevice> MovedTo(ImmutableArray<string> addresses) =>
        [.. Devices.Zip(addresses, static (device, address) => device with { Device = address })];

    /// <summary>What was written before a claim could have several devices names the only one.</summary>
    private static ImmutableArray<ClaimedDevice> DevicesOf(RepeatedField<DeviceRecord> several, string model, string device) => several.Count == 0
        ? [new ClaimedDevice(model, device)]
        : [.. several.Select(static one => new ClaimedDevice(one.Model, one.Device))];

    private static ImmutableArray<string> AddressesOf(RepeatedField<string> several, string device) => several.Count == 0 ? [device] : [.. several];

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
            Cause = migration.Cause ?? "",
            Request = migration.Request ?? "",
            Traceparent = migration.Traceparent ?? "",
            LeftAtStop = migration.LeftAtStop,
            RateAtStop = migration.RateAtStop,
            OnNoConvergence = (int)migration.OnNoConvergence,
            DirtyBytesPerSecond = migration.DirtyBytesPerSecond,
            StopLimitMs = migration.StopLimitMs,
        };
        record.FromDevices.AddRange(migration.FromDevices);
        record.ToDevices.AddRange(migration.ToDevices);
        record.Phases.AddRange(migration.Phases);
        return record;
    }

    private static ClaimMigration FromRecord(MigrationRecord record) => new(
        record.Number, record.FromHost, AddressesOf(record.FromDevices, record.FromDevice), record.ToHost, AddressesOf(record.ToDevices, record.ToDevice),
        record.DowntimeLimitMs, record.TimeoutMs, record.BandwidthLimit, record.RequestedBy, record.StartedAt)
    {
        Step = (MigrationStep)record.Step,
        Outcome = NullIfEmpty(record.Outcome),
        Reason = NullIfEmpty(record.Reason),
        Cause = NullIfEmpty(record.Cause),
        Request = NullIfEmpty(record.Request),
        Traceparent = NullIfEmpty(record.Traceparent),
        LeftAtStop = record.LeftAtStop,
        RateAtStop = record.RateAtStop,
        OnNoConvergence = (NoConvergence)record.OnNoConvergence,
        DirtyBytesPerSecond = record.DirtyBytesPerSecond,
        StopLimitMs = record.StopLimitMs,
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

    private static TroubleRecord ToRecord(DeviceTrouble trouble) => new()
    {
        Host = trouble.Host,
        Device = trouble.Device,
        Reason = trouble.Reason,
        Readable = trouble.Readable,
        Since = trouble.Since,
        Attempts = trouble.Attempts,
        Held = trouble.Held ?? "",
        Outcome = trouble.Outcome ?? "",
        EndedAt = trouble.EndedAt,
        ToHost = trouble.ToHost ?? "",
        ToDevice = trouble.ToDevice ?? "",
        DowntimeMs = trouble.DowntimeMs,
    };

    private static DeviceTrouble FromRecord(TroubleRecord record) => new(record.Host, record.Device, record.Reason, record.Readable, record.Since)
    {
        Attempts = record.Attempts,
        Held = NullIfEmpty(record.Held),
        Outcome = NullIfEmpty(record.Outcome),
        EndedAt = record.EndedAt,
        ToHost = NullIfEmpty(record.ToHost),
        ToDevice = NullIfEmpty(record.ToDevice),
        DowntimeMs = record.DowntimeMs,
    };
}
