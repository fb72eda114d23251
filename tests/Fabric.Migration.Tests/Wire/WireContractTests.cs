using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

public sealed class WireContractTests
{
    [Fact]
    public void The_text_lists_messages_and_all_they_reach_in_the_order_of_their_bytes()
    {
        var text = WireContract.Of(typeof(WithOutcome), typeof(InitOnly)).Text;

        Assert.Equal("""
            # What crosses between nodes, in the order of its bytes. Nodes with different contracts do not join each other.
            format fabric-wire/1 hyperion/0.12.2

            record Fabric.Migration.Tests.Wire.Done
              Attempt: Guid
              Bytes: long

            record Fabric.Migration.Tests.Wire.Failed
              Attempt: Guid
              Level: Fabric.Migration.Tests.Wire.Level
              Reason: string

            message Fabric.Migration.Tests.Wire.InitOnly
              Id: string
              Number: int

            enum Fabric.Migration.Tests.Wire.Level: byte
              Low = 1
              High = 200

            union Fabric.Migration.Tests.Wire.Outcome
              Fabric.Migration.Tests.Wire.Done
              Fabric.Migration.Tests.Wire.Failed

            message Fabric.Migration.Tests.Wire.WithOutcome
              Earlier: Fabric.Migration.Tests.Wire.Outcome[]
              Outcome: Fabric.Migration.Tests.Wire.Outcome

            """, text);
    }

    [Fact]
    public void The_text_does_not_depend_on_the_order_in_which_messages_are_given() =>
        Assert.Equal(Samples.Contract.Text, WireContract.Of([.. Samples.Messages.Reverse()]).Text);

    [Fact]
    public void The_numbers_of_types_do_not_depend_on_the_order_in_which_messages_are_given() =>
        Assert.Equal(
            Samples.Contract.Types.Select(t => t.Type),
            WireContract.Of([.. Samples.Messages.Reverse()]).Types.Select(t => t.Type));

    [Fact]
    public void Another_list_has_another_hash() => Assert.NotEqual(Samples.Contract.Hash, Samples.OtherContract.Hash);

    [Fact]
    public void The_hash_is_the_first_sixteen_hex_digits_of_the_texts() => Assert.Matches("^sha256:[0-9a-f]{16}$", Samples.Contract.Hash);

    [Fact]
    public void An_assembly_gives_every_concrete_message_it_holds()
    {
        var found = EmittedTypes.EmptyMessage();

        Assert.Equal([found], WireContract.From(found.Assembly).Messages);
    }

    [Theory]
    [InlineData(typeof(Carries<object>), "type parameters")]
    [InlineData(typeof(Unsealed), "seal it")]
    [InlineData(typeof(NotAMessage), "does not implement IWireMessage")]
    [InlineData(typeof(Outcome), "does not implement IWireMessage")]
    [InlineData(typeof(Chain), "Chain.Next is of type", "may not contain itself")]
    [InlineData(typeof(HiddenState), "HiddenState holds the field remembered")]
    public void A_message_that_cannot_cross_is_named_with_the_reason(Type message, params string[] expected) =>
        AssertFault(() => WireContract.Of(message), expected);

    [Theory]
    [InlineData(typeof(object), "anything could be in it")]
    [InlineData(typeof(Func<int>), "code does not cross")]
    [InlineData(typeof(IDisposable), "abstract record")]
    [InlineData(typeof(Akka.Actor.IActorRef), "abstract record")]
    [InlineData(typeof(IWireMessage), "abstract record")]
    [InlineData(typeof(nint), "use long")]
    [InlineData(typeof(nuint), "use long")]
    [InlineData(typeof(DateTime), "use DateTimeOffset")]
    [InlineData(typeof(DateTime?), "use DateTimeOffset")]
    [InlineData(typeof(ReadOnlyMemory<byte>), "use an array")]
    [InlineData(typeof(List<int>), "use an array")]
    [InlineData(typeof(System.Collections.Immutable.ImmutableArray<int>), "use an array")]
    [InlineData(typeof(Dictionary<string, int>), "use an array")]
    [InlineData(typeof(object[]), "anything could be in it")]
    [InlineData(typeof(int[,]), "flat array")]
    [InlineData(typeof(PlainClass), "sealed record")]
    [InlineData(typeof(PlainStruct), "record struct")]
    [InlineData(typeof(Unsealed), "seal it")]
    [InlineData(typeof(NoCases), "no case")]
    [InlineData(typeof(OpenCases), "OpenCase cannot cross the wire: seal it")]
    public void A_member_that_cannot_cross_is_named_with_the_reason(Type member, string reason) =>
        AssertFault(() => WireContract.Of(EmittedTypes.MessageHolding(member)), reason);

    [Fact]
    public void A_fault_names_the_type_and_the_member() =>
        AssertFault(() => WireContract.Of(EmittedTypes.MessageHolding(typeof(object))), "Holder.Held is of type System.Object");

    [Fact]
    public void All_faults_are_told_at_once()
    {
        var fault = Assert.Throws<WireContractException>(() => WireContract.Of(typeof(Unsealed), typeof(HiddenState)));

        Assert.Equal(2, fault.Faults.Count);
    }

    private static void AssertFault(Action act, params string[] expected)
    {
        var fault = Assert.Throws<WireContractException>(act);
        foreach (var part in expected)
            Assert.Contains(part, fault.Message, StringComparison.Ordinal);
    }
}
