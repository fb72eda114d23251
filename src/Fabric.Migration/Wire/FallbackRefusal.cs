using Akka.Actor;
using Akka.Configuration;
using Akka.Event;
using Serializer = Akka.Serialization.Serializer;

namespace Fabric.Migration.Wire;

/// <summary>
/// Stands in for Akka's JSON serializer, to which every type goes that is bound to nothing else. That one would carry any object,
/// and makes any type that the bytes name.
/// </summary>
internal sealed class FallbackRefusal : Serializer
{
    /// <summary>Akka's own id for JSON, so that a peer's JSON comes here.</summary>
    public const int JsonSerializerId = 1;

    private readonly WireRefusals refusals;
    private readonly ILoggingAdapter log;

    /// <param name="settings">The JSON serializer's own; Akka passes them because they exist.</param>
    public FallbackRefusal(ExtendedActorSystem system, Config settings) : base(system)
    {
        refusals = WireSetup.Of(system).Refusals;
        log = Logging.GetLogger(system.EventStream, typeof(FallbackRefusal));
    }

    public override int Identifier => JsonSerializerId;

    public override bool IncludeManifest => false;

    /// <exception cref="WireRefusedException">Always.</exception>
    public override byte[] ToBinary(object obj) => throw refusals.Refuse(
        log, "out", $"A {obj.GetType()} was not sent. Only messages of the wire contract cross: make it an {nameof(IWireMessage)}.");

    /// <exception cref="WireRefusedException">Always.</exception>
    public override object FromBinary(byte[] bytes, Type type) => throw refusals.Refuse(
        log, "in", $"A message of {bytes.Length} bytes was not delivered. It is JSON; only messages of the wire contract cross.");
}
