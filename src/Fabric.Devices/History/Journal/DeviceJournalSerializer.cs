using Akka.Actor;
using Akka.Serialization;
using Google.Protobuf;

namespace Fabric.Devices.History.Journal;

/// <summary>
/// What a host's journal and snapshot store keep of its devices, as Protobuf behind short versioned manifests: no CLR name is ever written
/// down. A manifest stands for one layout for ever; a changed layout that old readers would misread gets a new one beside it.
/// </summary>
public sealed class DeviceJournalSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    /// <summary>The binding of this serializer to what it keeps.</summary>
    public const string Hocon = """
        akka.actor {
          serializers {
            fabric-device-journal = "Fabric.Devices.History.Journal.DeviceJournalSerializer, Fabric.Devices"
          }
          serialization-bindings {
            "Fabric.Devices.History.Journal.IJournaled, Fabric.Devices" = fabric-device-journal
          }
          serialization-identifiers {
            "Fabric.Devices.History.Journal.DeviceJournalSerializer, Fabric.Devices" = 1109
          }
        }
        """;

    private static readonly Dictionary<string, MessageParser> Parsers = new()
    {
        ["device.noted.v1"] = EntryNoted.Parser,
        ["device.standing.v1"] = StandingChanged.Parser,
        ["device.snapshot.v1"] = HistorySnapshot.Parser,
    };

    private static readonly Dictionary<Type, string> Manifests = Parsers.ToDictionary(
        entry => entry.Value.ParseFrom(ByteString.Empty).GetType(), entry => entry.Key);

    /// <summary>Every manifest there is.</summary>
    public static IReadOnlyCollection<string> KnownManifests => Parsers.Keys;

    public override int Identifier => 1109;

    public override string Manifest(object o) => Manifests.TryGetValue(o.GetType(), out var manifest)
        ? manifest
        : throw new ArgumentException($"{o.GetType().Name} is not kept in the journal.", nameof(o));

    public override byte[] ToBinary(object obj) => ((IMessage)obj).ToByteArray();

    public override object FromBinary(byte[] bytes, string manifest) => Parsers.TryGetValue(manifest, out var parser)
        ? parser.ParseFrom(bytes)
        : throw new ArgumentException($"The journal holds '{manifest}', which this version does not know; it was written by a newer one. Run that, or a later one.", nameof(manifest));
}
