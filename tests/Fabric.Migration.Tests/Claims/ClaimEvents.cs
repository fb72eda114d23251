using Fabric.Migration.Claims;
using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Tests.Claims;

/// <summary>Events of a claim that began on alpha, for tests of the pure state.</summary>
internal static class ClaimEvents
{
    public static ClaimCreated Created { get; } = new()
    {
        ClaimId = "c1",
        Model = "accelerator",
        Host = "alpha",
        Device = "fab0:01:00.1",
        Generation = 1,
        MemoryBytes = 1 << 20,
        StepsPerSecond = 1000,
        RequestedBy = "ops",
        At = 100,
    };

    public static ClaimStarted Running { get; } = new() { Generation = 1, At = 110 };

    public static TargetReserved Reserved { get; } = new() { Endpoint = "127.0.0.1:4711", Token = ByteString.CopyFrom(1, 2, 3), At = 210 };

    public static SwitchoverStarted Switchover { get; } = new() { Rounds = 3, Bytes = 4096, RemainingBytes = 10, BytesPerSecond = 1000, At = 220 };

    public static MigrationCommitted Committed { get; } = new()
    {
        Bytes = 5000,
        Checksum = "ab",
        Phases = { new Phase { Name = "load", Ms = 2, Downtime = true } },
        At = 230,
    };

    public static TargetStarted TargetRuns { get; } = new() { DowntimeMs = 12.5, Phases = { new Phase { Name = "start", Ms = 1, Downtime = true } }, At = 240 };

    public static SourceReleased SourceFree { get; } = new() { Note = "free", At = 250 };

    public static RollbackStarted GivenUp { get; } = new() { Reason = "it took too long", At = 260 };

    public static MigrationRolledBack RolledBack { get; } = new() { DowntimeMs = 7.5, Bytes = 4500, At = 270 };

    /// <summary>The next migration of a claim, to the host it is not on.</summary>
    public static MigrationStarted NextMigration(ClaimState state) => new()
    {
        Number = state.NextMigration,
        FromHost = state.Host,
        FromDevice = state.Device,
        ToHost = state.Host == "alpha" ? "beta" : "alpha",
        ToDevice = state.Host == "alpha" ? "fab0:02:00.3" : "fab0:01:00.1",
        Generation = state.Generation + 1,
        DowntimeLimitMs = 300,
        TimeoutMs = 60_000,
        BandwidthLimit = 1 << 30,
        RequestedBy = "ops",
        At = 200,
    };

    public static DeviceFoundSick Sick(ClaimState state, bool readable) => new()
    {
        Host = state.Host,
        Device = state.Device,
        Reason = "it smells",
        Readable = readable,
        At = 300,
    };

    public static RestartStarted Restart(ClaimState state) => new()
    {
        Generation = state.Generation + 1,
        FromHost = state.Host,
        FromDevice = state.Device,
        Reason = "it is lost",
        Attempt = state.Trouble?.Attempts ?? 0,
        At = 310,
    };

    public static PlacedAfresh Placed(ClaimState state) => new() { Host = state.Host == "alpha" ? "beta" : "alpha", Device = "fab0:02:00.3", Generation = state.Generation + 1, At = 320 };

    public static RunnerClosed Closed { get; } = new() { At = 315 };

    public static ClaimState After(this ClaimState state, params IEnumerable<IJournaled> events) => events.Aggregate(state, (now, e) => now.Apply(e));

    /// <summary>A running claim.</summary>
    public static ClaimState RunningClaim { get; } = ClaimState.Empty.After(Created, Running);

    /// <summary>A running claim of two devices.</summary>
    public static ClaimState RunningPair { get; } = ClaimState.Empty.After(
        new ClaimCreated(Created)
        {
            Devices =
            {
                new DeviceRecord { Model = "accelerator", Device = "fab0:01:00.1" },
                new DeviceRecord { Model = "mlx5", Device = "fab0:07:00.2" },
            },
        },
        Running);

    public static MigrationStarted NextMigrationOfPair(ClaimState state) => new(NextMigration(state))
    {
        FromDevices = { state.Addresses },
        ToDevices = { "fab0:02:00.3", "fab0:08:00.1" },
    };

    /// <summary>A claim whose migration has just been written down.</summary>
    public static ClaimState MigratingClaim { get; } = RunningClaim.After(NextMigration(RunningClaim));
}
