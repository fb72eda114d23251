using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

/// <summary>What is cut by its weight must not be heavier on the wire.</summary>
public sealed class WireWeightTests
{
    private static readonly WireContract Contract = WireContract.From(typeof(IWireMessage).Assembly);

    public static TheoryData<bool> OfProductOrNot => [true, false];

    [Theory]
    [MemberData(nameof(OfProductOrNot))]
    public void No_message_takes_more_bytes_than_it_weighs(bool product)
    {
        var contract = product ? Contract : Samples.Contract;

        var tooLight =
            from type in contract.Messages
            from message in (object[])[WireSample.Full(type, 0), WireSample.Full(type, 1), WireSample.Bare(type)]
            let bytes = contract.Codec.Write(message).Length
            let weight = WireWeight.Of(message)
            where bytes > weight + WireHash
            select $"{type.Name} weighs {weight} and takes {bytes} bytes";

        Assert.Empty(tooLight);
    }

    [Theory]
    [InlineData("ascii")]
    [InlineData("\u00fc\u6f22\U0001f600")]
    public void A_text_weighs_what_its_letters_take(string piece)
    {
        var message = new Simple(string.Concat(Enumerable.Repeat(piece, 1000)), 0, 0);

        Assert.InRange(WireWeight.Of(message) - Samples.Contract.Codec.Write(message).Length, 0, 200);
    }

    [Fact]
    public void What_is_cut_is_all_there_in_its_order()
    {
        var cut = Portions.Cut(Enumerable.Range(0, 1000), static number => number * 100);

        Assert.Equal(Enumerable.Range(0, 1000), cut.SelectMany(static portion => portion.Items));
        Assert.All(cut, static portion => Assert.InRange(portion.Bytes, 1, Portions.Bytes));
    }

    [Fact]
    public void Nothing_is_one_portion() => Assert.Empty(Assert.Single(Portions.Cut(Array.Empty<int>(), static _ => 1)).Items);

    /// <summary>In front of every message.</summary>
    private const int WireHash = 8;
}
