using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Tests.Journal;

/// <summary>
/// What each golden file holds. A file is never written again: a field that is added gets a sample and a file beside the old one, named
/// <c>manifest.2.golden</c> and so on, and the last of a manifest has every field.
/// </summary>
internal static class JournalSamples
{
    public static IReadOnlyList<(string Manifest, string File, IMessage Message)> All { get; } = [.. Claims, .. MovesSamples.All];

    private static IReadOnlyList<(string Manifest, string File, IMessage Message)> Claims =>
    [
        Of("claim.created.v1", new ClaimCreated
        {
            ClaimId = "vm-7",
            Model = "accelerator",
            Host = "alpha",
            Device = "fab0:01:00.1",
            Generation = 3,
            MemoryBytes = 1L << 33,
            StepsPerSecond = 2000,
            RequestedBy = "ops",
            At = 1_795_341_600_123,
        }),
        ("claim.created.v1", "claim.created.v1.2.golden", new ClaimCreated
        {
            ClaimId = "vm-7",
            Model = "accelerator",
            Host = "alpha",
            Device = "fab0:01:00.1",
            Generation = 3,
            MemoryBytes = 1L << 33,
            StepsPerSecond = 2000,
            RequestedBy = "ops",
            At = 1_795_341_600_123,
            OnDeviceFailure = 2,
        }),
        ("claim.created.v1", "claim.created.v1.3.golden", new ClaimCreated
        {
            ClaimId = "vm-7",
            Model = "accelerator",
            Host = "alpha",
            Device = "fab0:01:00.1",
            Generation = 3,
            MemoryBytes = 1L << 33,
            StepsPerSecond = 2000,
            RequestedBy = "ops",
            HostLife = 638_900_000_000_000_001,
            At = 1_795_341_600_123,
            OnDeviceFailure = 2,
            Devices = { AtSource },
            Select = { "zone=a", "rack=r7" },
            ApartFrom = "db",
            OnHostLoss = 1,
            LeaseMs = 60_000,
        }),
        Of("claim.started.v1", new ClaimStarted { Generation = 3, At = 1_795_341_600_124 }),
        Of("claim.failed.v1", new ClaimFailed { Reason = "its device broke", At = 1_795_341_600_125 }),
        Of("claim.release-started.v1", new ReleaseStarted { RequestedBy = "ops", At = 1_795_341_600_126 }),
        Of("claim.released.v1", new ClaimReleased { At = 1_795_341_600_127 }),
        Of("migration.started.v1", new MigrationStarted
        {
            Number = 4,
            FromHost = "alpha",
            FromDevice = "fab0:01:00.1",
            ToHost = "beta",
            ToDevice = "fab0:02:00.3",
            Generation = 5,
            DowntimeLimitMs = 300,
            TimeoutMs = 60_000,
            BandwidthLimit = 1L << 34,
            RequestedBy = "ops",
            At = 1_795_341_600_128,
        }),
        ("migration.started.v1", "migration.started.v1.2.golden", new MigrationStarted
        {
            Number = 4,
            FromHost = "alpha",
            FromDevice = "fab0:01:00.1",
            ToHost = "beta",
            ToDevice = "fab0:02:00.3",
            Generation = 5,
            DowntimeLimitMs = 300,
            TimeoutMs = 60_000,
            BandwidthLimit = 1L << 34,
            RequestedBy = "fabric",
            At = 1_795_341_600_128,
            Cause = "alpha/fab0:01:00.1 is out of service: it smells",
        }),
        ("migration.started.v1", "migration.started.v1.3.golden", new MigrationStarted
        {
            Number = 4,
            FromHost = "alpha",
            FromDevice = "fab0:01:00.1",
            ToHost = "beta",
            ToDevice = "fab0:02:00.3",
            Generation = 5,
            DowntimeLimitMs = 300,
            TimeoutMs = 60_000,
            BandwidthLimit = 1L << 34,
            RequestedBy = "fabric",
            At = 1_795_341_600_128,
            Cause = "alpha/fab0:01:00.1 is out of service: it smells",
            FromDevices = { AddressesOf(AtSource) },
            ToDevices = { AddressesOf(AtTarget) },
            Request = "move-7",
            OnNoConvergence = 1,
            Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }),
        Of("migration.target-reserved.v1", new TargetReserved
        {
            Endpoint = "127.0.0.1:4711",
            Token = ByteString.CopyFrom(0xfe, 0xdc, 0x00, 0x01),
            At = 1_795_341_600_129,
        }),
        Of("migration.switchover-started.v1", new SwitchoverStarted
        {
            Rounds = 6,
            Bytes = 1L << 35,
            RemainingBytes = 1 << 20,
            BytesPerSecond = 1L << 32,
            At = 1_795_341_600_130,
        }),
        ("migration.switchover-started.v1", "migration.switchover-started.v1.2.golden", new SwitchoverStarted
        {
            Rounds = 6,
            Bytes = 1L << 35,
            RemainingBytes = 1 << 20,
            BytesPerSecond = 1L << 32,
            At = 1_795_341_600_130,
            DirtyBytesPerSecond = 1L << 31,
            StopLimitMs = 1625,
        }),
        Of("migration.committed.v1", new MigrationCommitted
        {
            Bytes = (1L << 35) + 1,
            Checksum = "00112233445566778899aabbccddeeff",
            Phases = { new Phase { Name = "quiesce", Ms = 1.5, Downtime = true }, new Phase { Name = "pre-copy", Ms = 1234.25 } },
            At = 1_795_341_600_131,
        }),
        Of("migration.target-started.v1", new TargetStarted
        {
            DowntimeMs = 42.125,
            Phases = { new Phase { Name = "start", Ms = 0.5, Downtime = true } },
            At = 1_795_341_600_132,
        }),
        Of("migration.source-released.v1", new SourceReleased { Note = "alpha/fab0:01:00.1 is free", At = 1_795_341_600_133 }),
        Of("migration.rollback-started.v1", new RollbackStarted { Reason = "cancelled by ops", Cancelled = true, At = 1_795_341_600_134 }),
        Of("migration.rolled-back.v1", new MigrationRolledBack { DowntimeMs = 17.75, Bytes = 1L << 31, At = 1_795_341_600_135, Rounds = 3 }),
        ("migration.rolled-back.v1", "migration.rolled-back.v1.2.golden", new MigrationRolledBack
        {
            DowntimeMs = 17.75,
            Bytes = 1L << 31,
            At = 1_795_341_600_135,
            Rounds = 3,
            Phases = { new Phase { Name = "stop", Ms = 16.5, Downtime = true } },
        }),
        ("migration.rolled-back.v1", "migration.rolled-back.v1.3.golden", new MigrationRolledBack
        {
            DowntimeMs = 17.75,
            Bytes = 1L << 31,
            At = 1_795_341_600_135,
            Rounds = 3,
            Phases = { new Phase { Name = "stop", Ms = 16.5, Downtime = true } },
            DirtyBytesPerSecond = 1L << 31,
        }),
        Of("claim.device-found-sick.v1", new DeviceFoundSick
        {
            Host = "alpha",
            Device = "fab0:01:00.1",
            Reason = "it smells",
            Readable = true,
            At = 1_795_341_600_136,
        }),
        Of("claim.restart-started.v1", new RestartStarted
        {
            Generation = 6,
            FromHost = "alpha",
            FromDevice = "fab0:01:00.1",
            Reason = "it cannot be read any more",
            Attempt = 1,
            At = 1_795_341_600_137,
        }),
        ("claim.restart-started.v1", "claim.restart-started.v1.2.golden", new RestartStarted
        {
            Generation = 6,
            FromHost = "alpha",
            FromDevice = "fab0:01:00.1",
            Reason = "its lease was not renewed",
            Attempt = 1,
            At = 1_795_341_600_137,
            Closed = true,
        }),
        Of("claim.runner-closed.v1", new RunnerClosed { At = 1_795_341_600_138 }),
        Of("claim.placed-afresh.v1", new PlacedAfresh { Host = "beta", Device = "fab0:02:00.3", At = 1_795_341_600_139, Generation = 7 }),
        ("claim.placed-afresh.v1", "claim.placed-afresh.v1.2.golden", new PlacedAfresh
        {
            Host = "beta",
            Device = "fab0:02:00.3",
            HostLife = 638_900_000_000_000_001,
            At = 1_795_341_600_139,
            Generation = 7,
            Devices = { AddressesOf(AtTarget) },
        }),
        Of("claim.snapshot.v1", Snapshot()),
        StoppedAt("claim.snapshot.v1"),
        GivenUpAt("claim.snapshot.v1"),
        InTrouble("claim.snapshot.v1"),
        OfSeveralDevices("claim.snapshot.v1"),
        Of("claim.taken-up.v1", new ClaimTakenUp { Node = "alpha", At = 1_795_341_600_141 }),
        Of("claim.host-leased.v1", new HostLeased { Host = "beta", Device = "fab0:02:00.3", Generation = 7, At = 1_795_341_600_142 }),
    ];

    private static DeviceRecord[] AtSource =>
        [new DeviceRecord { Model = "accelerator", Device = "fab0:01:00.1" }, new DeviceRecord { Model = "mlx5", Device = "fab0:07:00.2" }];

    private static DeviceRecord[] AtTarget =>
        [new DeviceRecord { Model = "accelerator", Device = "fab0:02:00.3" }, new DeviceRecord { Model = "mlx5", Device = "fab0:08:00.1" }];

    private static IEnumerable<string> AddressesOf(DeviceRecord[] devices) => devices.Select(static device => device.Device);

    /// <summary>Since its fifth file a claim has several devices, placement and a lease, and a migration what its pre-copy was like.</summary>
    private static (string Manifest, string File, IMessage Message) OfSeveralDevices(string manifest)
    {
        var snapshot = (ClaimSnapshot)InTrouble(manifest).Message;
        snapshot.HostLife = 638_900_000_000_000_001;
        snapshot.Devices.AddRange(AtTarget);
        snapshot.Migrations[0].FromDevices.AddRange(AddressesOf(AtSource));
        snapshot.Select.AddRange(["zone=a", "rack=r7"]);
        snapshot.ApartFrom = "db";
        (snapshot.OnHostLoss, snapshot.LeaseMs, snapshot.LeasedAt) = (1, 60_000, 1_795_341_600_142);
        var migration = snapshot.Migrations[0];
        migration.ToDevices.AddRange(AddressesOf(AtTarget));
        (migration.Request, migration.LeftAtStop, migration.RateAtStop) = ("move-7", 1 << 20, 1L << 32);
        migration.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        (migration.OnNoConvergence, migration.DirtyBytesPerSecond, migration.StopLimitMs) = (1, 1L << 31, 1625);
        return (manifest, $"{manifest}.5.golden", snapshot);
    }

    /// <summary>Since its fourth file a claim says what becomes of it when its device fails, and what did.</summary>
    private static (string Manifest, string File, IMessage Message) InTrouble(string manifest)
    {
        var snapshot = (ClaimSnapshot)GivenUpAt(manifest).Message;
        snapshot.OnDeviceFailure = 1;
        snapshot.RunnerGeneration = 4;
        snapshot.RunnerClosed = true;
        snapshot.Trouble = new TroubleRecord
        {
            Host = "alpha",
            Device = "fab0:01:00.1",
            Reason = "it smells",
            Readable = true,
            Since = 1_795_341_600_136,
            Attempts = 2,
            Held = "cancelled by ops",
            Outcome = "evacuated",
            EndedAt = 1_795_341_600_140,
            ToHost = "beta",
            ToDevice = "fab0:02:00.3",
            DowntimeMs = 12.5,
        };
        snapshot.Migrations[0].Cause = "alpha/fab0:01:00.1 is out of service: it smells";
        return (manifest, $"{manifest}.4.golden", snapshot);
    }

    /// <summary>Since its second file a migration says when its source was told to stop.</summary>
    private static (string Manifest, string File, IMessage Message) StoppedAt(string manifest)
    {
        var snapshot = Snapshot();
        snapshot.Migrations[0].StoppedAt = 1_795_341_600_130;
        return (manifest, $"{manifest}.2.golden", snapshot);
    }

    /// <summary>Since its third file also when its target was reserved, and when it was given up.</summary>
    private static (string Manifest, string File, IMessage Message) GivenUpAt(string manifest)
    {
        var snapshot = Snapshot();
        snapshot.Migrations[0].StoppedAt = 1_795_341_600_130;
        snapshot.Migrations[0].ReservedAt = 1_795_341_600_129;
        snapshot.Migrations[0].RollbackAt = 1_795_341_600_134;
        return (manifest, $"{manifest}.3.golden", snapshot);
    }

    private static ClaimSnapshot Snapshot() => new ClaimSnapshot
    {
        ClaimId = "vm-7",
        Model = "accelerator",
        Host = "beta",
        Device = "fab0:02:00.3",
        Generation = 5,
        MemoryBytes = 1L << 33,
        StepsPerSecond = 2000,
        Phase = 6,
        Message = "its device broke",
        CreatedAt = 1_795_341_600_123,
        Migrations =
        {
            new MigrationRecord
            {
                Number = 4,
                FromHost = "alpha",
                FromDevice = "fab0:01:00.1",
                ToHost = "beta",
                ToDevice = "fab0:02:00.3",
                Step = 6,
                Outcome = "rolled-back",
                Reason = "it did not end within 60 s",
                StartedAt = 1_795_341_600_128,
                EndedAt = 1_795_341_600_135,
                DowntimeMs = 42.125,
                DowntimeLimitMs = 300,
                TimeoutMs = 60_000,
                BandwidthLimit = 1L << 34,
                Bytes = (1L << 35) + 1,
                Rounds = 6,
                Verified = true,
                Checksum = "00112233445566778899aabbccddeeff",
                Phases = { new Phase { Name = "load", Ms = 2.5, Downtime = true } },
                RequestedBy = "ops",
                Endpoint = "127.0.0.1:4711",
                Token = ByteString.CopyFrom(0xfe, 0xdc, 0x00, 0x01),
            },
        },
    };

    private static (string Manifest, string File, IMessage Message) Of(string manifest, IMessage message) => (manifest, $"{manifest}.golden", message);
}
