using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>Every bit of the permission tables against <see cref="ExpectedMasks"/>, and where each capability ends.</summary>
public sealed class PermissionTableTests
{
    private const int StandardAt = 0x80;
    private const int ExtendedAt = 0x100;

    public static TheoryData<int> StandardSamples => [.. Enumerable.Range(0, CapabilitySamples.Standard.Length)];

    public static TheoryData<int> ExtendedSamples => [.. Enumerable.Range(0, CapabilitySamples.Extended.Length)];

    [Fact]
    public void Every_bit_of_the_header_is_as_the_table_says_CF_1()
    {
        AssertMasks(ExpectedMasks.Of("header", ConfigOffset.HeaderSize, 0, 0), Map(new ConfigBuilder()), 0);
    }

    [Theory]
    [MemberData(nameof(StandardSamples))]
    public void Every_bit_of_a_standard_capability_is_as_the_table_says_CF_30_CF_31_CF_32_CF_35_CF_36_CF_40_CF_42(int sample)
    {
        var capability = CapabilitySamples.Standard[sample];
        var builder = new ConfigBuilder();
        capability.AddTo(builder, StandardAt);
        var map = Map(builder);

        AssertMasks(ExpectedMasks.Of(capability.Masks!, capability.Length, 1, 1), map, StandardAt);
        Assert.Equal(capability.Length, Assert.Single(map.Standard).Length);
        AssertMasks(([0], [0xff]), map, StandardAt + capability.Length);
    }

    [Theory]
    [MemberData(nameof(ExtendedSamples))]
    public void Every_bit_of_an_extended_capability_is_as_the_table_says_CF_50_CF_51(int sample)
    {
        var capability = CapabilitySamples.Extended[sample];
        var builder = CapabilitySamples.WithExpress();
        capability.AddTo(builder, ExtendedAt);
        var map = Map(builder);

        AssertMasks(ExpectedMasks.Of(capability.Masks!, capability.Length, 0, 4), map, ExtendedAt);
        Assert.Equal(capability.Length, Assert.Single(map.Extended).Length);
        AssertMasks(([0], [0xff]), map, ExtendedAt + capability.Length);
    }

    private static ConfigMap Map(ConfigBuilder builder)
    {
        var function = builder.Build();
        return new ConfigMap(function, function.Config);
    }

    private static void AssertMasks((byte[] Virtual, byte[] Writable) expected, ConfigMap map, int start)
    {
        var bytes = Enumerable.Range(start, expected.Virtual.Length);
        Assert.Equal(expected.Virtual, bytes.Select(at => (byte)map.Virtual(at, 1)));
        Assert.Equal(expected.Writable, bytes.Select(at => (byte)map.Writable(at, 1)));
    }
}
