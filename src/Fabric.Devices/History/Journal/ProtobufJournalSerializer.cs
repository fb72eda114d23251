using Akka.Actor;
using Akka.Serialization;
using Google.Protobuf;

namespace Fabric.Devices.History.Journal;

/// <summary>
/// What a journal and its snapshot store keep, as Protobuf behind short versioned manifests: no CLR name is ever written down. A manifest stands
/// for one layout for ever; a changed layout that old readers would misread gets a new one beside it.
/// </summary>
/// <param name="layouts">Every manifest there is, and what is kept under it.</param>
public abstract class ProtobufJournalSerializer(ExtendedActorSystem system, ProtobufLayouts layouts) : SerializerWithStringManifest(system)
{
    public override string Manifest(object o) => layouts.ManifestOf(o.GetType())
        ?? throw new ArgumentException($"{o.GetType().Name} is not kept in the journal.", nameof(o));

    public override byte[] ToBinary(object obj) => ((IMessage)obj).ToByteArray();

    public override object FromBinary(byte[] bytes, string manifest) => layouts.ParserOf(manifest)?.ParseFrom(bytes)
        ?? throw new ArgumentException(
            $"The journal holds '{manifest}', which this version does not know; it was written by a newer one. Run that, or a later one.", nameof(manifest));
}

/// <summary>The layouts of one journal, by manifest.</summary>
public sealed class ProtobufLayouts(IReadOnlyDictionary<string, MessageParser> parsers)
{
    private readonly Dictionary<Type, string> manifests = parsers.ToDictionary(
        static entry => entry.Value.ParseFrom(ByteString.Empty).GetType(), static entry => entry.Key);

    /// <summary>Every manifest there is.</summary>
    public IReadOnlyCollection<string> Manifests => manifests.Values;

    public string? ManifestOf(Type kept) => manifests.GetValueOrDefault(kept);

    public MessageParser? ParserOf(string manifest) => parsers.GetValueOrDefault(manifest);
}
