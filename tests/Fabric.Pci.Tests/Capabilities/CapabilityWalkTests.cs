using System.Buffers.Binary;
using CsCheck;
using Fabric.Pci.Capabilities;

namespace Fabric.Pci.Tests.Capabilities;

public sealed class CapabilityWalkTests
{
    private readonly byte[] config = new byte[ConfigOffset.ExtendedSize];

    [Fact]
    public void Standard_capabilities_are_found_in_chain_order()
    {
        List(0x80, 0x40, 0xfc);

        Assert.Equal([0x80, 0x40, 0xfc], CapabilityWalk.Standard(config).Select(entry => entry.Offset));
    }

    [Fact]
    public void A_standard_capability_is_told_by_its_id()
    {
        List(0x40);
        config[0x40] = 0x11;

        Assert.Equal(new StandardEntry(StandardCapability.Msix, 0x40), Assert.Single(CapabilityWalk.Standard(config)));
    }

    [Fact]
    public void There_is_no_chain_where_STATUS_does_not_say_so()
    {
        List(0x40);
        config[ConfigOffset.Status] = 0;

        Assert.Empty(CapabilityWalk.Standard(config));
    }

    [Theory]
    [InlineData(0x40)]
    [InlineData(0x80)]
    public void A_standard_chain_that_comes_back_ends(byte back)
    {
        List(0x40, 0x80);
        config[0x81] = back;

        Assert.Equal([0x40, 0x80], CapabilityWalk.Standard(config).Select(entry => entry.Offset));
    }

    [Theory]
    [InlineData(0x03)]
    [InlineData(0x3c)]
    public void A_standard_chain_does_not_lead_into_the_header(byte next)
    {
        List(0x40);
        config[0x41] = next;

        Assert.Single(CapabilityWalk.Standard(config));
    }

    [Theory]
    [InlineData(0x81)]
    [InlineData(0x83)]
    public void Reserved_bits_of_a_standard_pointer_are_ignored(byte next)
    {
        List(0x40, 0x80);
        config[0x41] = next;

        Assert.Equal([0x40, 0x80], CapabilityWalk.Standard(config).Select(entry => entry.Offset));
    }

    [Fact]
    public void Extended_capabilities_are_found_in_chain_order_with_their_versions()
    {
        Header(0x100, 0x0001, 2, 0x400);
        Header(0x400, 0x0010, 1, 0x200);
        Header(0x200, 0x0023, 1, 0);

        Assert.Equal(
            [
                new ExtendedEntry(ExtendedCapability.Aer, 2, 0x100), new ExtendedEntry(ExtendedCapability.Sriov, 1, 0x400),
                new ExtendedEntry(ExtendedCapability.DesignatedVendorSpecific, 1, 0x200),
            ],
            CapabilityWalk.Extended(config));
    }

    [Fact]
    public void An_extended_chain_that_comes_back_ends()
    {
        Header(0x100, 0x0001, 1, 0x200);
        Header(0x200, 0x0003, 1, 0x100);

        Assert.Equal(2, CapabilityWalk.Extended(config).Length);
    }

    [Theory]
    [InlineData(0x0fc)]
    [InlineData(0x040)]
    public void An_extended_chain_does_not_lead_into_conventional_space(int next)
    {
        Header(0x100, 0x0001, 1, next);

        Assert.Single(CapabilityWalk.Extended(config));
    }

    [Fact]
    public void There_is_no_extended_chain_where_the_first_dword_is_0() => Assert.Empty(CapabilityWalk.Extended(config));

    [Fact]
    public void There_is_no_extended_chain_in_conventional_space() =>
        Assert.Empty(CapabilityWalk.Extended(config.AsSpan(0, ConfigOffset.ConventionalSize)));

    [Fact]
    public void Whatever_hardware_holds_a_walk_ends_within_its_space_and_visits_nothing_twice() =>
        Gen.Select(Gen.Byte.Array[ConfigOffset.ConventionalSize], Gen.Byte.Array[64], Gen.Bool).Sample((conventional, extended, large) =>
        {
            var garbage = new byte[large ? ConfigOffset.ExtendedSize : ConfigOffset.ConventionalSize];
            conventional.CopyTo(garbage, 0);
            for (var i = ConfigOffset.ConventionalSize; i < garbage.Length; i++)
                garbage[i] = (byte)(extended[i % 61] ^ (i >> 3));
            AssertSane(CapabilityWalk.Standard(garbage).Select(entry => entry.Offset), ConfigOffset.HeaderSize, ConfigOffset.ConventionalSize);
            AssertSane(CapabilityWalk.Extended(garbage).Select(entry => entry.Offset), ConfigOffset.ConventionalSize, ConfigOffset.ExtendedSize);
            foreach (var entry in CapabilityWalk.Standard(garbage))
                Assert.InRange(CapabilityLength.Standard(garbage, entry.Offset), 0, ConfigOffset.ConventionalSize - entry.Offset);
            foreach (var entry in CapabilityWalk.Extended(garbage))
                Assert.InRange(CapabilityLength.Extended(garbage, entry.Offset), 0, ConfigOffset.ExtendedSize - entry.Offset);
        }, iter: 2000);

    private static void AssertSane(IEnumerable<int> offsets, int start, int end)
    {
        var seen = new HashSet<int>();
        Assert.All(offsets, at =>
        {
            Assert.True(seen.Add(at));
            Assert.InRange(at, start, end - 4);
            Assert.Equal(0, at % 4);
        });
    }

    private void List(params ReadOnlySpan<byte> offsets)
    {
        config[ConfigOffset.Status] = (byte)PciStatus.CapabilitiesList;
        var link = ConfigOffset.CapabilitiesPointer;
        foreach (var offset in offsets)
        {
            config[link] = offset;
            link = offset + 1;
        }
    }

    private void Header(int at, uint id, uint version, int next) =>
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(at), id | (version << 16) | ((uint)next << 20));
}
