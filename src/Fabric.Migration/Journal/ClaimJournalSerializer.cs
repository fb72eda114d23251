using Akka.Actor;
using Fabric.Devices.History.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Journal;

/// <summary>What the journal and the snapshot store of control nodes keep: claims, and moves that the fabric makes by itself.</summary>
public sealed class ClaimJournalSerializer(ExtendedActorSystem system) : ProtobufJournalSerializer(system, Layouts)
{
    /// <summary>The binding of this serializer to what it keeps.</summary>
    public const string Hocon = """
        akka.actor {
          serializers {
            fabric-claim-journal = "Fabric.Migration.Journal.ClaimJournalSerializer, Fabric.Migration"
          }
          serialization-bindings {
            "Fabric.Migration.Journal.IJournaled, Fabric.Migration" = fabric-claim-journal
          }
          serialization-identifiers {
            "Fabric.Migration.Journal.ClaimJournalSerializer, Fabric.Migration" = 1108
          }
        }
        """;

    private static readonly ProtobufLayouts Layouts = new(new Dictionary<string, MessageParser>
    {
        ["claim.created.v1"] = ClaimCreated.Parser,
        ["claim.started.v1"] = ClaimStarted.Parser,
        ["claim.failed.v1"] = ClaimFailed.Parser,
        ["claim.release-started.v1"] = ReleaseStarted.Parser,
        ["claim.released.v1"] = ClaimReleased.Parser,
        ["migration.started.v1"] = MigrationStarted.Parser,
        ["migration.target-reserved.v1"] = TargetReserved.Parser,
        ["migration.switchover-started.v1"] = SwitchoverStarted.Parser,
        ["migration.committed.v1"] = MigrationCommitted.Parser,
        ["migration.target-started.v1"] = TargetStarted.Parser,
        ["migration.source-released.v1"] = SourceReleased.Parser,
        ["migration.rollback-started.v1"] = RollbackStarted.Parser,
        ["migration.rolled-back.v1"] = MigrationRolledBack.Parser,
        ["claim.device-found-sick.v1"] = DeviceFoundSick.Parser,
        ["claim.restart-started.v1"] = RestartStarted.Parser,
        ["claim.runner-closed.v1"] = RunnerClosed.Parser,
        ["claim.taken-up.v1"] = ClaimTakenUp.Parser,
        ["claim.host-leased.v1"] = HostLeased.Parser,
        ["claim.placed-afresh.v1"] = PlacedAfresh.Parser,
        ["claim.snapshot.v1"] = ClaimSnapshot.Parser,
        ["drain.started.v1"] = DrainStarted.Parser,
        ["drain.host-emptied.v1"] = HostEmptied.Parser,
        ["drain.ended.v1"] = DrainEnded.Parser,
        ["move.started.v1"] = MoveStarted.Parser,
        ["move.ended.v1"] = MoveEnded.Parser,
        ["rebalance.started.v1"] = RebalanceStarted.Parser,
        ["rebalance.ended.v1"] = RebalanceEnded.Parser,
        ["breaker.tripped.v1"] = BreakerTripped.Parser,
        ["breaker.reset.v1"] = BreakerReset.Parser,
        ["moves.snapshot.v1"] = MovesSnapshot.Parser,
    });

    /// <summary>Every manifest there is.</summary>
    public static IReadOnlyCollection<string> KnownManifests => Layouts.Manifests;

    public override int Identifier => 1108;
}
