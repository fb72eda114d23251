using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class RegionTests
{
    private const ulong Table = CardFunction.MsixTableOffset;
    private const ulong TableEnd = Table + (CardFunction.MsixVectors * 16);

    private readonly CardFunction function = new(Card.At(0), FunctionTraits.Vga)
    {
        Rom = new PciRom(BarSize: 0x1000, ContentBytes: 0x300, ShadowBytes: 0),
        Atomics = AtomicCompletion.Bits32 | AtomicCompletion.Bits64,
    };

    private readonly VfioPciCore core;

    public RegionTests() => core = Card.Open(function);

    // ---- GET_INFO and GET_REGION_INFO ------------------------------------------------------------------------------------------------

    [Fact]
    public void GET_INFO_has_the_atomics_capability_where_there_are_some_IO_10() =>
        Assert.Equal(
            new DeviceInfo(DeviceFlags.Pci | DeviceFlags.Reset | DeviceFlags.Caps, 9, 5, AtomicCompletion.Bits32 | AtomicCompletion.Bits64),
            core.GetInfo().Value);

    [Fact]
    public void The_BAR_of_the_MSIX_table_says_that_it_may_be_mapped_with_it_IO_20() =>
        Assert.Equal([RegionCapability.MsixMappable.Instance], core.GetRegionInfo(CardFunction.MsixBar).Value.Caps);

    [Fact]
    public void Another_BAR_has_no_capability_IO_20() => Assert.True(core.GetRegionInfo(CardFunction.MemoryBar).Value.Caps.IsDefault);

    [Fact]
    public void The_MSIX_BAR_that_cannot_be_mapped_has_no_capability_IO_20() =>
        Assert.True(Card.Open(new CardFunction(Card.At(0), FunctionTraits.UnmappableBars)).GetRegionInfo(CardFunction.MsixBar).Value.Caps.IsDefault);

    /// <summary>A ROM, and the size that its region has.</summary>
    public static TheoryData<PciRom, ulong> Roms() => new()
    {
        { new PciRom(0x1000, 0x300, 0), 0x1000 },
        { new PciRom(0x1000, 0, 0), 0 },
        { new PciRom(0, 0, 0x300), 0x400 },
        { new PciRom(0, 0, 0), 0 },
    };

    [Theory]
    [MemberData(nameof(Roms))]
    public void The_ROM_is_as_large_as_its_BAR_or_the_copy_rounded_up_IO_20(PciRom rom, ulong size) =>
        Assert.Equal(
            new RegionInfo(RegionIndex.Rom, size == 0 ? RegionFlags.None : RegionFlags.Read, size),
            Card.Open(new CardFunction(Card.At(0)) { Rom = rom }).GetRegionInfo(RegionIndex.Rom).Value);

    [Fact]
    public void The_VGA_region_is_there_for_a_VGA_device_IO_20() =>
        Assert.Equal(new RegionInfo(RegionIndex.Vga, RegionFlags.Read | RegionFlags.Write, 0xc0000), core.GetRegionInfo(RegionIndex.Vga).Value);

    [Fact]
    public void Without_VGA_by_option_there_is_no_VGA_region_LC_2() =>
        Assert.Equal(Errno.EINVAL, Card.Open(new CardFunction(Card.At(0), FunctionTraits.Vga), options: new CoreOptions(DisableVga: true))
            .GetRegionInfo(RegionIndex.Vga).Error.Errno);

    // ---- Device regions --------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_drivers_region_follows_the_fixed_ones_with_its_type_first_IO_20()
    {
        Assert.Equal(RegionIndex.Count, core.AddRegion(new FakeRegion()).Value);
        Assert.Equal(RegionIndex.Count + 1, core.AddRegion(new FakeRegion()).Value);

        var info = core.GetRegionInfo(RegionIndex.Count).Value;
        Assert.Equal((16UL, RegionFlags.Read | RegionFlags.Write), (info.Size, info.Flags));
        Assert.Equal(new RegionCapability.OfType(0x1234, 5), info.Caps[0]);
        Assert.IsType<RegionCapability.SparseMmap>(info.Caps[1]);
        Assert.Equal(11, core.GetInfo().Value.Regions);
        Assert.Equal(Errno.EINVAL, core.GetRegionInfo(RegionIndex.Count + 2).Error.Errno);
    }

    [Fact]
    public void A_drivers_region_answers_by_itself_IO_110()
    {
        var region = new FakeRegion();
        core.AddRegion(region);
        var data = new byte[4];

        Assert.Equal(2, core.Read(RegionIndex.Count, 14, data).Value);
        Assert.Equal([14, 15], data[..2]);
        Assert.Equal(3, core.Write(RegionIndex.Count, 0, [1, 2, 3]).Value);
        Assert.Equal([1, 2, 3], region.Written);
        Assert.Equal(Errno.EINVAL, core.Read(RegionIndex.Count, 16, data).Error.Errno);
    }

    // ---- read and write --------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(RegionIndex.Count)]
    [InlineData(-1)]
    public void No_bytes_of_no_region_are_EINVAL_all_the_same_IO_110(int region)
    {
        Assert.Equal(Errno.EINVAL, core.Read(region, 0, []).Error.Errno);
        Assert.Equal(Errno.EINVAL, core.Write(region, 0, []).Error.Errno);
    }

    [Fact]
    public void The_ROM_cannot_be_written_IO_110() =>
        Assert.Equal(Errno.EINVAL, core.Write(RegionIndex.Rom, 0, [1]).Error.Errno);

    [Theory]
    [InlineData(0UL, 16, "0+0/8 0+8/8")]
    [InlineData(1UL, 15, "0+1/1 0+2/2 0+4/4 0+8/8")]
    [InlineData(4UL, 12, "0+4/4 0+8/8")]
    [InlineData(6UL, 3, "0+6/2 0+8/1")]
    [InlineData(0UL, 7, "0+0/4 0+4/2 0+6/1")]
    public void A_BAR_is_accessed_in_naturally_aligned_pieces_of_8_4_2_and_1_IO_111(ulong offset, int length, string expected)
    {
        core.Read(CardFunction.MemoryBar, offset, new byte[length]);
        Assert.Equal(expected, string.Join(' ', function.Accesses));
        function.Accesses.Clear();

        core.Write(CardFunction.MemoryBar, offset, new byte[length]);
        Assert.Equal(expected, string.Join(' ', function.Accesses));
    }

    [Fact]
    public void The_ROM_is_accessed_in_pieces_of_4_at_most_IO_111()
    {
        core.Read(RegionIndex.Rom, 0, new byte[8]);

        Assert.Equal(["6+0/4", "6+4/4"], function.Accesses);
    }

    [Theory]
    [InlineData(Table, 4, 0, 4)]
    [InlineData(Table - 2, 4, 2, 2)]
    [InlineData(TableEnd - 2, 4, 0, 2)]
    [InlineData(Table - 4, 72, 4, 64)]
    public void Bytes_of_the_MSIX_table_read_FF_and_are_not_written_IO_111(ulong offset, int length, int from, int hidden)
    {
        var data = new byte[length];

        Assert.Equal(length, core.Write(CardFunction.MsixBar, offset, Enumerable.Repeat((byte)0xaa, length).ToArray()).Value);
        Assert.Equal(length, core.Read(CardFunction.MsixBar, offset, data).Value);

        for (var i = 0; i < length; i++)
            Assert.Equal(i >= from && i < from + hidden ? 0xff : 0xaa, data[i]);
        Assert.DoesNotContain(function.Accesses, access => IsInTable(access));
    }

    [Fact]
    public void The_MSIX_table_is_reached_through_a_mapping_IO_111()
    {
        var mapping = core.Map(CardFunction.MsixBar).Value;

        Assert.True(mapping.Write(Table, [0xaa]).IsOk);
        Assert.Equal(0xaa, function.Memory(CardFunction.MsixBar, Table));
    }

    [Theory]
    [InlineData(PciCommand.None, PciPowerState.D0)]
    [InlineData(PciCommand.MemorySpace, PciPowerState.D3Hot)]
    public void Memory_that_cannot_be_used_is_EIO_and_IO_space_goes_on_IO_112(PciCommand command, PciPowerState state)
    {
        core.WriteCommand(command | PciCommand.IoSpace);
        core.WritePowerState(state);

        Assert.Equal(Errno.EIO, core.Read(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, core.Read(RegionIndex.Rom, 0, new byte[4]).Error.Errno);
        Assert.Equal(4, core.Read(CardFunction.IoBar, 0, new byte[4]).Value);
        Assert.Equal(4, core.Write(CardFunction.IoBar, 0, new byte[4]).Value);
    }

    [Fact]
    public void The_tail_of_a_ROM_that_is_smaller_than_its_BAR_reads_FF_IO_113()
    {
        var data = new byte[8];

        Assert.Equal(8, core.Read(RegionIndex.Rom, 0x2fc, data).Value);

        Assert.Equal([0xff, 0xff, 0xff, 0xff], data[4..]);
        Assert.Equal(["6+2fc/4"], function.Accesses);
        Assert.Equal(Errno.EINVAL, core.Read(RegionIndex.Rom, 0x1000, data).Error.Errno);
    }

    [Theory]
    [InlineData(0xa0000UL, 4, 4)]
    [InlineData(0xbfffeUL, 4, 2)]
    [InlineData(0x3b0UL, 16, 12)]
    [InlineData(0x3bbUL, 2, 1)]
    [InlineData(0x3c0UL, 64, 32)]
    [InlineData(0x3bcUL, 1, 0)]
    [InlineData(0x3afUL, 1, 0)]
    [InlineData(0x3e0UL, 1, 0)]
    [InlineData(0x9ffffUL, 1, 0)]
    [InlineData(0xc0000UL, 1, 0)]
    public void VGA_answers_in_its_ranges_and_is_cut_short_at_their_ends_IO_113(ulong offset, int length, int expected)
    {
        var read = core.Read(RegionIndex.Vga, offset, new byte[length]);
        var written = core.Write(RegionIndex.Vga, offset, new byte[length]);

        Assert.Equal(expected == 0 ? Errno.EINVAL : Errno.None, read.Error.Errno);
        Assert.Equal(read, written);
        if (read.IsOk)
            Assert.Equal(expected, read.Value);
    }

    [Fact]
    public void VGA_of_a_device_that_is_none_is_EINVAL_IO_110() =>
        Assert.Equal(Errno.EINVAL, Card.Open(Card.Physical()).Read(RegionIndex.Vga, 0xa0000, new byte[1]).Error.Errno);

    // ---- mmap ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_private_mapping_is_EINVAL_IO_114() =>
        Assert.Equal(Errno.EINVAL, core.Map(CardFunction.MemoryBar, MapOptions.Private).Error.Errno);

    [Theory]
    [InlineData(CardFunction.IoBar)]
    [InlineData(RegionIndex.Rom)]
    [InlineData(RegionIndex.Config)]
    [InlineData(RegionIndex.Vga)]
    [InlineData(RegionIndex.Count)]
    [InlineData(1)]
    [InlineData(-1)]
    public void What_has_no_MMAP_flag_is_EINVAL_for_holder_and_driver_IO_114(int region)
    {
        core.AddRegion(new FakeRegion());

        Assert.Equal(Errno.EINVAL, core.Map(region).Error.Errno);
        Assert.Equal(Errno.EINVAL, core.Map(region, MapOptions.DriverOwned).Error.Errno);
    }

    [Theory]
    [InlineData(0UL, 0x2000UL, true)]
    [InlineData(0x1000UL, 0x1000UL, true)]
    [InlineData(0UL, 0x2001UL, false)]
    [InlineData(0x1000UL, 0x1001UL, false)]
    [InlineData(0x2000UL, 1UL, false)]
    [InlineData(0x2000UL, 0UL, false)]
    [InlineData(ulong.MaxValue, 2UL, false)]
    [InlineData(0UL, ulong.MaxValue, false)]
    public void A_mapping_lies_within_the_pages_of_its_BAR_IO_114(ulong offset, ulong length, bool mapped)
    {
        var mapping = core.Map(CardFunction.MemoryBar, offset, length);

        Assert.Equal(mapped, mapping.IsOk);
        if (!mapped)
            return;
        Assert.Equal(length, mapping.Value.Length);
        mapping.Value.Write(0, [0x5a]);
        Assert.Equal(0x5a, function.Memory(CardFunction.MemoryBar, offset));
    }

    [Fact]
    public void A_BAR_below_a_page_is_mapped_by_the_page_and_answers_where_it_is_IO_114()
    {
        var mapping = core.Map(CardFunction.SmallBar, 0, 0x1000).Value;

        Assert.True(mapping.Read(0xff, new byte[1]).IsOk);
        Assert.Equal(Errno.EFAULT, mapping.Read(0x100, new byte[1]).Error.Errno);
    }

    [Fact]
    public void A_fault_with_decode_off_is_refused_and_with_decode_on_again_answered_IO_114_INV_1()
    {
        var mapping = core.Map(CardFunction.MemoryBar).Value;
        core.WriteCommand(PciCommand.None);

        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[1]).Error.Errno);
        Assert.Equal(Errno.EIO, mapping.Write(0, new byte[1]).Error.Errno);
        Assert.Empty(function.Accesses);
        core.WriteCommand(PciCommand.MemorySpace);
        Assert.True(mapping.Read(0, new byte[1]).IsOk);
    }

    [Fact]
    public void A_mapping_may_be_made_while_decode_is_off_IO_114()
    {
        core.WriteCommand(PciCommand.None);

        Assert.Equal(Errno.EIO, core.Map(CardFunction.MemoryBar).Value.Read(0, new byte[1]).Error.Errno);
    }

    [Fact]
    public void A_VFs_memory_is_always_decoded_CF_13()
    {
        var virtualFunction = Card.Open(new CardFunction(Card.At(0), FunctionTraits.VirtualFunction));
        var mapping = virtualFunction.Map(CardFunction.MemoryBar).Value;

        virtualFunction.WriteCommand(PciCommand.None);

        Assert.True(mapping.Read(0, new byte[1]).IsOk);
        Assert.True(virtualFunction.Read(CardFunction.MemoryBar, 0, new byte[1]).IsOk);
    }

    [Fact]
    public void A_drivers_own_mapping_withstands_decode_off_and_nothing_else_INV_1()
    {
        var mapping = core.Map(CardFunction.MemoryBar, MapOptions.DriverOwned).Value;
        core.WriteCommand(PciCommand.None);
        Assert.Equal(Errno.None, mapping.Read(0, new byte[1]).Error.Errno);

        core.WritePowerState(PciPowerState.D3Hot);
        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[1]).Error.Errno);
        core.Close();
        Assert.Equal(Errno.ENODEV, mapping.Read(0, new byte[1]).Error.Errno);
    }

    [Fact]
    public void Turning_decode_off_waits_for_the_access_under_way_CF_10_INV_1()
    {
        var mapping = core.Map(CardFunction.MemoryBar).Value;
        OtherThread<bool>? write = null;
        function.DuringAccess = () =>
        {
            function.DuringAccess = () => { };
            write = new OtherThread<bool>(() => core.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]).IsOk);
            Assert.True(write.Waits);
            Assert.True(function.Has(PciCommand.MemorySpace));
        };

        Assert.True(mapping.Read(0, new byte[1]).IsOk);

        Assert.True(write!.Result);
        Assert.False(function.Has(PciCommand.MemorySpace));
    }

    private static bool IsInTable(string access)
    {
        var parts = access.Split('+', '/');
        var offset = Convert.ToUInt64(parts[1], 16);
        return parts[0] == $"{CardFunction.MsixBar}" && offset < TableEnd && offset + ulong.Parse(parts[2]) > Table;
    }

    [Fact]
    public void The_ROM_of_a_function_without_memory_BARs_is_there_once_decode_is_on_INV_1()
    {
        var function = new CardFunction(Card.At(0))
        {
            Bars = [new(BarKind.Io, 0x20), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None],
            Rom = new PciRom(BarSize: 0x1000, ContentBytes: 0x300, ShadowBytes: 0),
        };
        var device = Card.Open(function);

        Assert.Equal(Errno.EIO, device.Read(RegionIndex.Rom, 0, new byte[4]).Error.Errno);
        device.Healthy();
        device.WriteCommand(PciCommand.MemorySpace);
        Assert.True(device.Read(RegionIndex.Rom, 0, new byte[4]).IsOk);
        Assert.Empty(function.Violations);
    }
}
