using Akka.Actor;
using Akka.Cluster.Serialization;
using Akka.Event;
using Google.Protobuf;

namespace Fabric.Migration.Wire;

/// <summary>
/// Compares wire contracts when a node joins. Akka.NET has no JoinConfigCompatChecker, so this stands in for the serializer of
/// cluster messages and lets the messages of joining carry the sender's hash, in a protobuf field that stock readers skip:
/// <list type="bullet">
/// <item><c>InitJoinAck</c>, "you may join": a joining node drops it when the hash is not its own, and so never joins.</item>
/// <item><c>Join</c>: a member drops it when the hash is not its own or missing, so a node that does not ask is kept out too.</item>
/// </list>
/// A refused node stays up, keeps asking, and joins once the contracts are equal: losing the cluster does not stop its devices.
/// </summary>
internal sealed class WireContractDoor : ClusterMessageSerializer
{
    /// <summary>Akka.Cluster's own id for cluster messages: the bytes stay readable to a stock node.</summary>
    public const int ClusterSerializerId = 5;

    // As in Akka.Cluster; internal there.
    private const string InitJoin = "Akka.Cluster.InternalClusterAction+InitJoin, Akka.Cluster";
    private const string InitJoinAck = "Akka.Cluster.InternalClusterAction+InitJoinAck, Akka.Cluster";
    private const string Join = "Akka.Cluster.InternalClusterAction+Join, Akka.Cluster";

    private const int HashField = 1107;
    private const string Unreadable = "an unreadable wire contract";
    private const string Remedy =
        "Run the same build on every node: contracts do not mix, so drain and stop the nodes of one before starting those of the other.";

    private readonly WireSetup setup;
    private readonly FirstSeedHold hold;
    private readonly ILoggingAdapter log;

    public WireContractDoor(ExtendedActorSystem system) : base(system)
    {
        setup = WireSetup.Of(system);
        hold = new FirstSeedHold(system);
        log = Logging.GetLogger(system.EventStream, typeof(WireContractDoor));
    }

    private string Own => setup.Contract.Hash;

    public override byte[] ToBinary(object obj)
    {
        var bytes = base.ToBinary(obj);
        return Manifest(obj) is InitJoin or InitJoinAck or Join ? Append(bytes, Own) : bytes;
    }

    /// <exception cref="WireRefusedException">The sender of a joining message speaks another contract.</exception>
    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (manifest is InitJoin or InitJoinAck or Join && HashIn(bytes) is var other && other != Own)
            Meet(other, manifest);
        return base.FromBinary(bytes, manifest);
    }

    private void Meet(string other, string manifest)
    {
        switch (manifest)
        {
            case InitJoin:
                // Answered all the same: the answer carries this node's hash, from which the other learns why it does not join.
                log.Warning("{0}", $"A node that speaks {other} asks to join; this cluster speaks {Own} and does not let it in. {Remedy}");
                break;
            case InitJoinAck:
                hold.Begin();
                throw Refused($"This node speaks {Own} and the cluster speaks {other}, so it does not join; it keeps asking. {Remedy}");
            default:
                throw Refused($"A node that speaks {other} tried to join this cluster, which speaks {Own}, and was not let in. {Remedy}");
        }
    }

    private WireRefusedException Refused(string sentence) => setup.Refusals.Refuse(log, "join", sentence);

    // Protobuf messages are sets of fields: one more can simply follow.
    private static byte[] Append(byte[] message, string hash)
    {
        using var stream = new MemoryStream();
        stream.Write(message);
        using (var output = new CodedOutputStream(stream, leaveOpen: true))
        {
            output.WriteTag(HashField, WireFormat.WireType.LengthDelimited);
            output.WriteString(hash);
        }

        return stream.ToArray();
    }

    private static string HashIn(byte[] bytes)
    {
        try
        {
            using var input = new CodedInputStream(bytes);
            for (var tag = input.ReadTag(); tag != 0; tag = input.ReadTag())
            {
                if (tag == WireFormat.MakeTag(HashField, WireFormat.WireType.LengthDelimited))
                    return input.ReadString() is var hash && WireContract.IsHash(hash) ? hash : Unreadable;
                input.SkipLastField();
            }

            return "no wire contract";
        }
        catch (InvalidProtocolBufferException)
        {
            return Unreadable;
        }
    }
}
