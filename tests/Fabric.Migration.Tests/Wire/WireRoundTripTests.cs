using Akka.Actor.Setup;
using Akka.Configuration;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

/// <summary>Every message of the product, found by reflection: a message that cannot be written is otherwise dropped in silence.</summary>
public sealed class WireRoundTripTests : Akka.TestKit.Xunit.TestKit
{
    private static readonly WireContract Contract = WireContract.From(typeof(IWireMessage).Assembly);

    public WireRoundTripTests()
        : base(ActorSystemSetup.Create(new WireSetup(Contract), Akka.Actor.BootstrapSetup.Create().WithConfig(
            ConfigurationFactory.ParseString(WireConfig.Hocon).WithFallback(DefaultConfig))))
    {
    }

    [Fact]
    public void Every_full_message_comes_back_as_it_went()
    {
        // As many variants as the widest union has cases: each case is then sent.
        var variants = Contract.Unions.Select(u => u.Cases.Count).DefaultIfEmpty(1).Max();

        var messages = Contract.Messages.SelectMany(type => Enumerable.Range(0, variants).Select(variant => WireSample.Full(type, variant)));

        Assert.Empty(messages.Select(Fault).OfType<string>());
    }

    [Fact]
    public void Every_message_of_nulls_and_empty_arrays_comes_back_as_it_went() =>
        Assert.Empty(Contract.Messages.Select(type => Fault(WireSample.Bare(type))).OfType<string>());

    private string? Fault(object message)
    {
        var serializer = Sys.Serialization.FindSerializerFor(message);
        if (serializer is not HyperionWireSerializer)
            return $"{message.GetType()} goes to {serializer.GetType()}";
        var returned = Sys.Serialization.Deserialize(Sys.Serialization.Serialize(message), serializer.Identifier, "");
        return WireSample.Difference(message, returned, message.GetType().Name);
    }
}
