using Akka.Actor;
using Google.Protobuf;

namespace Fabric.Devices.History.Journal;

/// <summary>What a host's journal and snapshot store keep of its devices.</summary>
public sealed class DeviceJournalSerializer(ExtendedActorSystem system) : ProtobufJournalSerializer(system, Layouts)
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

    private static readonly ProtobufLayouts Layouts = new(new Dictionary<string, MessageParser>
    {
        ["device.noted.v1"] = EntryNoted.Parser,
        ["device.standing.v1"] = StandingChanged.Parser,
        ["device.snapshot.v1"] = HistorySnapshot.Parser,
    });

    /// <summary>Every manifest there is.</summary>
    public static IReadOnlyCollection<string> KnownManifests => Layouts.Manifests;

    public override int Identifier => 1109;
}
