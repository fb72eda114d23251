using Fabric.Pci;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>BAR and ROM sizing (contract §3.4).</summary>
public sealed class BarTests
{
    private readonly ConfigFunction function = new ConfigBuilder()
        .Dword(ConfigOffset.Bar0, 0xf012_0000)
        .Dword(ConfigOffset.Bar0 + 4, 0xd00d_0008)
        .Dword(ConfigOffset.Bar0 + 8, 0x0000_000c)
        .Dword(ConfigOffset.Bar0 + 12, 0x0000_0040)
        .Dword(ConfigOffset.Bar0 + 16, 0x0000_e001)
        .Dword(ConfigOffset.Bar0 + 20, 0xbad0_0000)
        .Dword(ConfigOffset.RomBar, 0xfe00_0000)
        .Build();

    public BarTests()
    {
        function.Bars =
        [
            new(BarKind.Memory32, 0x2_0000), new(BarKind.Memory32, 0x1000, Prefetchable: true),
            new(BarKind.Memory64, 1UL << 33, Prefetchable: true), PciBar.None,
            new(BarKind.Io, 0x20), PciBar.None,
        ];
        function.Rom = new PciRom(0x1_0000, 0, 0);
    }

    [Theory]
    [InlineData(0, 0xfffe_0000u)]
    [InlineData(1, 0xffff_f008u)]
    [InlineData(2, 0x0000_000cu)]
    [InlineData(3, 0xffff_fffeu)]
    [InlineData(4, 0xffff_ffe1u)]
    [InlineData(5, 0x0000_0000u)]
    public void Writing_ones_tells_size_and_type_CF_20(int bar, uint expected)
    {
        var open = new OpenConfig(function);

        open.WriteDword(At(bar), uint.MaxValue);

        Assert.Equal(expected, open.ReadDword(At(bar)));
    }

    [Theory]
    [InlineData(0, 0xf012_0000u)]
    [InlineData(1, 0xd00d_0008u)]
    [InlineData(2, 0x0000_000cu)]
    [InlineData(3, 0x0000_0040u)]
    [InlineData(4, 0x0000_e001u)]
    public void At_open_a_BAR_has_the_hosts_address_CF_20(int bar, uint expected) =>
        Assert.Equal(expected, new OpenConfig(function).ReadDword(At(bar)));

    [Fact]
    public void A_BAR_that_the_host_has_not_assigned_reads_0_whatever_hardware_holds_CF_20() =>
        Assert.Equal(0u, new OpenConfig(function).ReadDword(At(5)));

    [Theory]
    [InlineData(0, 0xfeb7_1234u, 0xfeb6_0000u)]
    [InlineData(2, 0x8000_0000u, 0x0000_000cu)]
    [InlineData(3, 0x1234_5677u, 0x1234_5676u)]
    [InlineData(4, 0x0000_c03fu, 0x0000_c021u)]
    public void An_address_is_kept_in_the_bits_above_the_size_CF_20(int bar, uint written, uint expected)
    {
        var open = new OpenConfig(function);

        open.WriteDword(At(bar), written);

        Assert.Equal(expected, open.ReadDword(At(bar)));
    }

    [Fact]
    public void A_64_bit_BAR_below_4_GiB_keeps_all_of_its_upper_half_CF_20()
    {
        function.Bars = [new(BarKind.Memory64, 0x4000), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];
        var open = new OpenConfig(function);

        open.Write(At(0), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

        Assert.Equal((0xffff_c004u, uint.MaxValue), (open.ReadDword(At(0)), open.ReadDword(At(1))));
    }

    [Fact]
    public void The_smallest_sizes_do_not_touch_the_type_bits_CF_20()
    {
        function.Bars = [new(BarKind.Io, 1), new(BarKind.Memory32, 1), PciBar.None, PciBar.None, PciBar.None, PciBar.None];
        var open = new OpenConfig(function);

        open.Write(At(0), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

        Assert.Equal((0xffff_fffdu, 0xffff_fff0u), (open.ReadDword(At(0)), open.ReadDword(At(1))));
    }

    [Fact]
    public void A_64_bit_BAR_without_room_for_its_upper_half_has_none_CF_20()
    {
        function.Bars = [PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None, new(BarKind.Memory64, 0x1000)];
        var open = new OpenConfig(function);

        open.WriteDword(At(5), uint.MaxValue);

        Assert.Equal(0xffff_f004u, open.ReadDword(At(5)));
    }

    [Fact]
    public void A_BAR_can_be_sized_by_the_byte_CF_20()
    {
        var open = new OpenConfig(function);
        open.WriteDword(At(0), 0);

        open.WriteByte(At(0) + 2, 0xff);

        Assert.Equal((0x00feu, 0x00fe_0000u), (open.ReadWord(At(0) + 2), open.ReadDword(At(0))));
    }

    [Fact]
    public void What_is_written_to_a_BAR_never_reaches_hardware_CF_20()
    {
        var open = new OpenConfig(function);

        open.Write(ConfigOffset.Bar0, [.. Enumerable.Repeat((byte)0xff, 24)]);
        open.WriteDword(ConfigOffset.RomBar, uint.MaxValue);

        Assert.Empty(function.Writes);
    }

    [Theory]
    [InlineData(0x1_0000, 0x1_0000, 0, 0xffff_0001u)]
    [InlineData(0x1_0000, 0, 0, 0xffff_0001u)]
    [InlineData(0, 0x9000, 0x9000, 0xffff_0001u)]
    [InlineData(0, 0, 0x8000, 0xffff_8001u)]
    [InlineData(0, 0, 0, 0x0000_0000u)]
    public void The_ROM_BAR_tells_the_size_of_the_BAR_or_of_the_copy_and_keeps_its_enable_bit_CF_21(
        ulong bar, ulong content, ulong shadow, uint expected)
    {
        function.Rom = new PciRom(bar, content, shadow);
        var open = new OpenConfig(function);

        open.WriteDword(ConfigOffset.RomBar, uint.MaxValue);

        Assert.Equal(expected, open.ReadDword(ConfigOffset.RomBar));
    }

    [Fact]
    public void At_open_the_ROM_BAR_has_the_hosts_address_CF_21() =>
        Assert.Equal(0xfe00_0000u, new OpenConfig(function).ReadDword(ConfigOffset.RomBar));

    private static int At(int bar) => ConfigOffset.Bar0 + (4 * bar);
}
