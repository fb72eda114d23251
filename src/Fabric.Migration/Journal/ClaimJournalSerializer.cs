using Akka.Actor;
using Akka.Serialization;
using Google.Protobuf;

namespace Fabric.Migration.Journal;

/// <summary>
/// What the journal and the snapshot store keep, as Protobuf behind short versioned manifests: no CLR name is ever written down. A manifest
/// stands for one layout for ever; a changed layout that old readers would misread gets a new one beside it.
/// </summary>
public sealed class ClaimJournalSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
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

    private static readonly Dictionary<string, MessageParser> Parsers = new()
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
        ["claim.snapshot.v1"] = ClaimSnapshot.Parser,
    };

    private static readonly Dictionary<Type, string> Manifests = Parsers.ToDictionary(
        entry => entry.Value.ParseFrom(ByteString.Empty).GetType(), entry => entry.Key);

    /// <summary>Every manifest there is.</summary>
    public static IReadOnlyCollection<string> KnownManifests => Parsers.Keys;

    public override int Identifier => 1108;

    public override string Manifest(object o) => Manifests.TryGetValue(o.GetType(), out var manifest)
        ? manifest
        : throw new ArgumentException($"{o.GetType().Name} is not kept in the journal.", nameof(o));

    public override byte[] ToBinary(object obj) => ((IMessage)obj).ToByteArray();

    public override object FromBinary(byte[] bytes, string manifest) => Parsers.TryGetValue(manifest, out var parser)
        ? parser.ParseFrom(bytes)
        : throw new ArgumentException($"The journal holds '{manifest}', which this version does not know; it was written by a newer one. Run that, or a later one.", nameof(manifest));
}
