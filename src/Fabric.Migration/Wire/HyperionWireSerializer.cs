using Akka.Actor;
using Akka.Event;
using Akka.Serialization;

namespace Fabric.Migration.Wire;

/// <summary>
/// Carries <see cref="IWireMessage"/>s by Hyperion, and nothing that the contract does not list. The bytes are the contract's
/// hash (8 bytes) and then Hyperion's; they are proven against the contract before Hyperion reads them, so a peer can neither
/// name a type nor make this node allocate or recurse beyond the message's own size.
/// </summary>
/// <remarks>
/// What is refused is thrown as <see cref="WireRefusedException"/>, logged as a warning and counted in
/// <see cref="WireSetup.Refusals"/>. Remoting drops that one message and keeps the association. Akka makes more than one of an actor system:
/// distributed data makes its own when its first state is sent, in the middle of a connection that carries heartbeats too. All share the
/// contract's one codec, so that only the first takes the time to compile it.
/// </remarks>
public sealed class HyperionWireSerializer : Serializer
{
    public const int WireSerializerId = 1107;

    private readonly WireRefusals refusals;
    private readonly WireCodec codec;
    private readonly ILoggingAdapter log;

    public HyperionWireSerializer(ExtendedActorSystem system) : base(system)
    {
        var setup = WireSetup.Of(system);
        refusals = setup.Refusals;
        codec = setup.Contract.Codec;
        log = Logging.GetLogger(system.EventStream, typeof(HyperionWireSerializer));
    }

    public override int Identifier => WireSerializerId;

    /// <summary>The type's number is in the bytes.</summary>
    public override bool IncludeManifest => false;

    /// <exception cref="WireRefusedException"><paramref name="obj"/> is not listed, holds what is not, or is too large.</exception>
    public override byte[] ToBinary(object obj)
    {
        try
        {
            return codec.Write(obj);
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
            return codec.Read(bytes);
        }
        catch (Exception e)
        {
            throw refusals.Refuse(log, "in", $"A message of {bytes.Length} bytes was not delivered. {e.Message}", e);
        }
    }
}
