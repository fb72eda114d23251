using System.Runtime.CompilerServices;
using Hyperion;

namespace Fabric.Migration.Wire;

/// <summary>
/// A contract's messages to bytes and back: the contract's hash (8 bytes), and then Hyperion's. Whatever reads and writes them is compiled by
/// the constructor, which takes seconds of a busy processor, and may be shared by threads and actor systems from then on.
/// </summary>
internal sealed class WireCodec
{
    private readonly WireContract contract;
    private readonly WireProof proof;
    private readonly Serializer hyperion;

    public WireCodec(WireContract contract)
    {
        this.contract = contract;
        proof = new WireProof(contract);
        hyperion = new Serializer(new SerializerOptions(
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

    /// <exception cref="WireRefusedException"><paramref name="obj"/> is not listed, or is too large.</exception>
    public byte[] Write(object obj)
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

    /// <exception cref="WireRefusedException"><paramref name="bytes"/> are not one whole message of this contract.</exception>
    public object Read(byte[] bytes)
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

    /// <summary>Writes and reads each message once, empty: what does so is compiled now, and not while a device stands and waits for it.</summary>
    private void Rehearse()
    {
        foreach (var listed in contract.Types.Where(known => contract.IsMessageListed(known.Type)))
            Read(Write(RuntimeHelpers.GetUninitializedObject(listed.Type)));
    }
}
