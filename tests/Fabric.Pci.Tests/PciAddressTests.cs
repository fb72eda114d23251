using CsCheck;

namespace Fabric.Pci.Tests;

public sealed class PciAddressTests
{
    private static readonly PciAddress Sample = new(0x0000, 0x3b, 0x00, 2);

    private static readonly Gen<PciAddress> AnyAddress = Gen.Select(
        Gen.UShort, Gen.Byte, Gen.Byte[0, 0x1f], Gen.Byte[0, 7],
        (domain, bus, device, function) => new PciAddress(domain, bus, device, function));

    [Theory]
    [InlineData("0000:3b:00.2")]
    [InlineData("0000:3B:00.2")]
    [InlineData("3b:00.2")]
    [InlineData("pci_0000_3b_00_2")]
    [InlineData("PCI_0000_3B_00_2")]
    public void Every_customary_spelling_is_understood(string text) => Assert.Equal(Sample, PciAddress.Parse(text));

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("0000:3b:00.8")]
    [InlineData("0000:3b:20.0")]
    [InlineData("0000:3b:00")]
    [InlineData("0000:3b:00.")]
    [InlineData("0000:3b:00.22")]
    [InlineData("10000:3b:00.2")]
    [InlineData("0000-3b-00-2")]
    [InlineData("0000:3b:00:2")]
    [InlineData("0000.3b:00.2")]
    [InlineData("0000:3g:00.2")]
    [InlineData("0000:-1:00.2")]
    [InlineData("0000: 3:00.2")]
    [InlineData("+000:3b:00.2")]
    [InlineData("3b:00.2 ")]
    [InlineData(" 3b:00.2")]
    [InlineData("3b:00:2")]
    [InlineData("pci_0000:3b:00.2")]
    [InlineData("pci-0000-3b-00-2")]
    [InlineData("pci_0000_3b_00.2")]
    [InlineData("usb_0000_3b_00_2")]
    [InlineData("0000:3b:00.2\0")]
    [InlineData("0000:3b:00.٢")]
    public void What_is_no_address_is_refused(string? text) => Assert.False(PciAddress.TryParse(text, out _));

    [Fact]
    public void A_refused_text_leaves_the_default_address()
    {
        var understood = PciAddress.TryParse("ffff:ff:1f.8", out var address);

        Assert.Equal((false, default), (understood, address));
    }

    [Fact]
    public void The_error_quotes_the_text_and_shows_how_to_write_it()
    {
        var error = Assert.Throws<FormatException>(() => PciAddress.Parse("0000:3b:00.9"));

        Assert.Equal("'0000:3b:00.9' is not a PCI address; write domain:bus:device.function, such as 0000:3b:00.2.", error.Message);
    }

    [Fact]
    public void It_is_printed_in_lower_case_with_all_its_zeros() =>
        Assert.Equal("000a:0b:0c.1", new PciAddress(0xa, 0xb, 0xc, 1).ToString());

    [Fact]
    public void Device_and_function_pack_into_DevFn() => Assert.Equal(0xff, new PciAddress(0, 0, 0x1f, 7).DevFn);

    [Fact]
    public void Bus_device_and_function_pack_into_the_routing_id() =>
        Assert.Equal(0x3b0a, new PciAddress(1, 0x3b, 1, 2).RoutingId);

    [Fact]
    public void Domain_comes_before_bus_before_device_before_function_in_order()
    {
        PciAddress[] ordered =
        [
            new(0, 0, 0, 0), new(0, 0, 0, 7), new(0, 0, 1, 0), new(0, 0, 0x1f, 7), new(0, 1, 0, 0), new(0, 0xff, 0x1f, 7), new(1, 0, 0, 0),
        ];

        Assert.Equal(ordered, ordered.Reverse().Order());
    }

    [Fact]
    public void What_is_printed_is_parsed_back() =>
        AnyAddress.Sample(address => Assert.Equal(address, PciAddress.Parse(address.ToString())));

    [Fact]
    public void The_spelling_of_libvirt_is_parsed_back() =>
        AnyAddress.Sample(address => Assert.Equal(
            address, PciAddress.Parse("pci_" + address.ToString().Replace(':', '_').Replace('.', '_'))));

    [Fact]
    public void Domain_and_routing_id_are_the_whole_address() =>
        AnyAddress.Sample(address => Assert.Equal(address, PciAddress.FromRoutingId(address.Domain, address.RoutingId)));

    [Fact]
    public void The_order_is_the_order_of_the_printed_text() =>
        Gen.Select(AnyAddress, AnyAddress).Sample((a, b) =>
            Assert.Equal(Math.Sign(string.CompareOrdinal(a.ToString(), b.ToString())), Math.Sign(a.CompareTo(b))));

    [Fact]
    public void The_operators_agree_with_CompareTo() =>
        Gen.Select(AnyAddress, AnyAddress).Sample((a, b) => Assert.Equal(
            (a.CompareTo(b) < 0, a.CompareTo(b) > 0, a.CompareTo(b) <= 0, a.CompareTo(b) >= 0), (a < b, (a > b), a <= b, a >= b)));

    [Fact]
    public void A_changed_character_is_either_refused_or_is_in_the_address() =>
        Gen.Select(AnyAddress, Gen.Int[0, 11], Gen.Char[' ', '~']).Sample((address, position, character) =>
        {
            var text = address.ToString().ToCharArray();
            text[position] = character;
            if (PciAddress.TryParse(text, null, out var understood))
                Assert.Equal(new string(text), understood.ToString(), ignoreCase: true);
        });
}
