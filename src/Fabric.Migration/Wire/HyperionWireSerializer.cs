using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Event;
using Hyperion;
using Serializer = Akka.Serialization.Serializer;

namespace Fabric.Migration.Wire;

/// <summary>
/// Carries <see cref="IWireMessage"/>s by Hyperion, and nothing that the contract does not list. The bytes are the contract's
/// hash (8 bytes) and then Hyperion's; they are proven against the contract before Hyperion reads them, so a peer can neither
/// name a type nor make this node allocate or recurse beyond the message's own size.
/// </summary>
/// <remarks>
/// What is refused is thrown as <see cref="WireRefusedException"/>, logged as a warning and counted in
/// <see cref="WireSetup.Refusals"/>. Remoting drops that one message and keeps the association. Hyperion's serializer may be
/// shared by threads once its types are built, and they all are by its constructor; its sessions may not, so each call has its own.
/// </remarks>
public sealed class HyperionWireSerializer : Serializer
{
    public const int WireSerializerId = 1107;

    private readonly WireContract contract;
    private readonly WireRefusals refusals;
    private readonly WireProof proof;
    private readonly Hyperion.Serializer hyperion;
    private readonly ILoggingAdapter log;

    public HyperionWireSerializer(ExtendedActorSystem system) : base(system)
    {
        var setup = WireSetup.Of(system);
        contract = setup.Contract;
        refusals = setup.Refusals;
        proof = new WireProof(contract);
        log = Logging.GetLogger(system.EventStream, typeof(HyperionWireSerializer));
        hyperion = new Hyperion.Serializer(new SerializerOptions(
            versionTolerance: false, // 0.12.2 writes the names and then ignores them
            preserveObjectReferences: false,
            surrogates: [],
            serializerFactories: [new ClosedListFactory(contract)],
            knownTypes: contract.Types.Select(t => t.Type),
            ignoreISerializable: false,
            packageNameOverrides: [],
            disallowUnsafeTypes: true, // without it the type filter is not asked either
            typeFilter: new WireTypeFilter(contract)));
        Rehearse();
    }

    public override int Identifier => WireSerializerId;

    /// <summary>The type's number is in the bytes.</summary>
    public override bool IncludeManifest => false;

    /// <exception cref="WireRefusedException"><paramref name="obj"/> is not listed, holds what is not, or is too large.</exception>
    public override byte[] ToBinary(object obj)
    {
        try
        {
            return Write(obj);
        }
        catch (Exception e)
        {
            throw refusals.Refuse(log, "out", $"A {obj?.GetType().ToString() ?? "null"} was not sent. {e.Message}", e);
        }
    }

    /// <exception cref="WireRefusedException"><paramref name="bytes"/> are not one whole message of this contract.</exception>
    public override object FromBinary(byte[] bytes, Type type)
    {
        try
        {
            return Read(bytes);
        }
        catch (Exception e)
        {
            throw refusals.Refuse(log, "in", $"A message of {bytes.Length} bytes was not delivered. {e.Message}", e);
        }
    }

    /// <summary>Writes and reads each message once, empty: what does so is compiled now, and not while a device stands and waits for it.</summary>
    private void Rehearse()
    {
        foreach (var listed in contract.Types.Where(known => contract.IsMessageListed(known.Type)))
            Read(Write(RuntimeHelpers.GetUninitializedObject(listed.Type)));
    }

    private byte[] Write(object obj)
    {
        if (obj is not IWireMessage || !contract.IsMessageListed(obj.GetType()))
            throw new WireRefusedException("It is not a message of the wire contract; only listed messages cross.");
        using var stream = new MemoryStream();
        stream.Write(contract.HashPrefix.Span);
        hyperion.Serialize(obj, stream, hyperion.GetSerializerSession());
        return stream.Length <= WireContract.MaxMessageBytes
            ? stream.ToArray()
            : throw new WireRefusedException(
                $"It takes {stream.Length} bytes of at most {WireContract.MaxMessageBytes}; bulk goes by the data plane.");
    }

    private object Read(byte[] bytes)
    {
        if (bytes.Length > WireContract.MaxMessageBytes)
            throw new WireRefusedException($"It is larger than {WireContract.MaxMessageBytes} bytes.");
        var prefix = contract.HashPrefix.Span;
        if (!bytes.AsSpan().StartsWith(prefix))
            throw new WireRefusedException($"Its sender does not speak this node's wire contract, {contract.Hash}.");
        proof.Prove(bytes.AsSpan(prefix.Length));

        using var stream = new MemoryStream(bytes, prefix.Length, bytes.Length - prefix.Length, writable: false);
        var message = hyperion.Deserialize(stream, hyperion.GetDeserializerSession());
        return message is IWireMessage && stream.Position == stream.Length
            ? message
            : throw new WireRefusedException($"Hyperion read a {message?.GetType()} and left {stream.Length - stream.Position} bytes.");
    }
}
