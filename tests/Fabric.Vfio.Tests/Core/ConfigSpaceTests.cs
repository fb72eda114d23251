using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class ConfigSpaceTests
{
    private const int RomBar = 0x30;

    private readonly FakeFunction function = new();
    private readonly VfioPciCore core;

    public ConfigSpaceTests() => core = OpenDevice.On(function);

    // ---- Ids and what cannot be written ----------------------------------------------------------------------------------------------

    [Fact]
    public void A_virtual_function_shows_its_ids_though_its_hardware_reads_ones()
    {
        Assert.Equal(FakeFunction.HardwareVendor | (uint)FakeFunction.HardwareDevice << 16, Read32(core, ConfigOffset.VendorId));
    }

    [Fact]
    public void A_write_to_the_ids_is_dropped_and_counts_as_done_CF_3()
    {
        Assert.Equal(4, core.Write(RegionIndex.Config, ConfigOffset.VendorId, [1, 2, 3, 4]).Value);
        Assert.Equal(FakeFunction.HardwareVendor | (uint)FakeFunction.HardwareDevice << 16, Read32(core, ConfigOffset.VendorId));
    }

    [Fact]
    public void Error_bits_of_the_status_register_cannot_be_cleared_Q_4()
    {
        function.Put(ConfigOffset.Status, 0xf900);

        core.Write(RegionIndex.Config, ConfigOffset.Status, [0xff, 0xff]);

        Assert.Equal(0xf900, function.Hardware(ConfigOffset.Status));
    }

    [Fact]
    public void A_write_past_the_conventional_256_bytes_is_dropped_CF_3()
    {
        function.Put(0x200, 0x1234);

        Assert.Equal(2, core.Write(RegionIndex.Config, 0x200, [0xff, 0xff]).Value);
        Assert.Equal(0x1234, function.Hardware(0x200));
    }

    [Fact]
    public void Cache_line_size_passes_through()
    {
        core.Write(RegionIndex.Config, 0x0c, [0x10]);

        Assert.Equal(0x10, function.Hardware(0x0c));
    }

    [Fact]
    public void Interrupt_line_is_a_scratch_byte_of_the_shadow()
    {
        core.Write(RegionIndex.Config, ConfigOffset.InterruptLine, [0x0b]);

        Assert.Equal((0x0b, 0), (Read16(ConfigOffset.InterruptLine), function.Hardware(ConfigOffset.InterruptLine)));
    }

    [Fact]
    public void Interrupt_pin_reads_none_where_there_is_no_INTx()
    {
        var legacy = new FakeFunction(isVirtual: false);
        legacy.Put(ConfigOffset.InterruptLine, 0x0100);

        Assert.Equal(0u, Read32(OpenDevice.On(legacy), ConfigOffset.InterruptLine) >> 8 & 0xff);
    }

    [Theory]
    [InlineData(4096UL, 1)]
    [InlineData(4095UL, 2)]
    [InlineData(0UL, 4097)]
    [InlineData(ulong.MaxValue, 1)]
    [InlineData(ulong.MaxValue - 1, 4)]
    public void An_access_outside_config_space_is_EFAULT_CF_2(ulong offset, int length)
    {
        Assert.Equal(Errno.EFAULT, core.Read(RegionIndex.Config, offset, new byte[length]).Error.Errno);
        Assert.Equal(Errno.EFAULT, core.Write(RegionIndex.Config, offset, new byte[length]).Error.Errno);
    }

    [Fact]
    public void A_conventional_function_ends_at_256_bytes_CF_2()
    {
        var conventional = OpenDevice.On(new FakeFunction(configSize: ConfigOffset.ConventionalSize));

        Assert.Equal(Errno.EFAULT, conventional.Read(RegionIndex.Config, 256, new byte[1]).Error.Errno);
        Assert.Equal(256, conventional.Read(RegionIndex.Config, 0, new byte[256]).Value);
    }

    // ---- COMMAND ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Bus_master_goes_straight_to_hardware_CF_15()
    {
        WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);

        Assert.True(function.Has(PciCommand.BusMaster));
        Assert.Equal((int)(PciCommand.MemorySpace | PciCommand.BusMaster), Read16(ConfigOffset.Command));
    }

    [Fact]
    public void A_virtual_functions_memory_enable_can_be_turned_off_and_reads_so_CF_13()
    {
        WriteCommand(PciCommand.None);

        Assert.Equal(0, Read16(ConfigOffset.Command));
    }

    [Fact]
    public void A_virtual_functions_memory_enable_is_not_what_hardware_says_CF_13()
    {
        function.Put(ConfigOffset.Command, 0);

        Assert.Equal((int)PciCommand.MemorySpace, Read16(ConfigOffset.Command));
    }

    [Fact]
    public void A_physical_functions_memory_enable_reaches_hardware_CF_12()
    {
        var physical = new FakeFunction(isVirtual: false);
        var open = OpenDevice.On(physical);

        open.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]);

        Assert.False(physical.Has(PciCommand.MemorySpace));
    }

    [Fact]
    public void A_write_to_the_upper_half_of_COMMAND_does_not_touch_memory_enable_CF_5()
    {
        core.Write(RegionIndex.Config, ConfigOffset.Command + 1, [0]);

        Assert.True(core.Read(0, 0, new byte[1]).IsOk);
    }

    // ---- BARs ------------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(0, 0xffff_f00cu)]
    [InlineData(1, 0xffff_ffffu)]
    [InlineData(2, 0x0000_000cu)]
    [InlineData(3, 0xffff_fffeu)]
    [InlineData(4, 0xffff_ff0cu)]
    [InlineData(5, 0xffff_ffffu)]
    public void Writing_ones_to_a_BAR_tells_its_size_and_type_CF_20(int bar, uint expected)
    {
        Write32(ConfigOffset.Bar0 + (4 * bar), uint.MaxValue);

        Assert.Equal(expected, Read32(core, ConfigOffset.Bar0 + (4 * bar)));
    }

    [Fact]
    public void A_BAR_that_is_not_there_reads_0_CF_20()
    {
        var bare = OpenDevice.On(new FakeFunction { Bars = [0, 0, 0, 0, 0, 0] });
        for (var bar = 0; bar < 6; bar++)
            bare.Write(RegionIndex.Config, (ulong)(ConfigOffset.Bar0 + (4 * bar)), [0xff, 0xff, 0xff, 0xff]);

        Assert.All(Enumerable.Range(0, 6), bar => Assert.Equal(0u, Read32(bare, ConfigOffset.Bar0 + (4 * bar))));
    }

    [Fact]
    public void An_address_is_kept_in_the_bits_above_the_size_CF_20()
    {
        Write32(ConfigOffset.Bar0, 0xfebf_1234);

        Assert.Equal(0xfebf_100cu, Read32(core, ConfigOffset.Bar0));
    }

    [Fact]
    public void A_BAR_can_be_read_and_written_by_the_byte_CF_20()
    {
        core.Write(RegionIndex.Config, ConfigOffset.Bar0 + 3, [0xfe]);
        var upper = new byte[1];

        core.Read(RegionIndex.Config, ConfigOffset.Bar0 + 3, upper);

        Assert.Equal([0xfe], upper);
    }

    [Fact]
    public void What_is_written_to_a_BAR_never_reaches_hardware_CF_20()
    {
        Write32(ConfigOffset.Bar0, uint.MaxValue);

        Assert.Equal((0, 0), (function.Hardware(ConfigOffset.Bar0), function.Hardware(ConfigOffset.Bar0 + 2)));
    }

    [Fact]
    public void The_ROM_BAR_of_a_function_without_ROM_reads_0_CF_21()
    {
        Write32(RomBar, uint.MaxValue);

        Assert.Equal(0u, Read32(core, RomBar));
    }

    private static uint Read32(VfioPciCore core, int offset)
    {
        var data = new byte[4];
        Assert.Equal(4, core.Read(RegionIndex.Config, (ulong)offset, data).Value);
        return BinaryPrimitives.ReadUInt32LittleEndian(data);
    }

    private int Read16(int offset)
    {
        var data = new byte[2];
        Assert.Equal(2, core.Read(RegionIndex.Config, (ulong)offset, data).Value);
        return BinaryPrimitives.ReadUInt16LittleEndian(data);
    }

    private void Write32(int offset, uint value)
    {
        var data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Assert.Equal(4, core.Write(RegionIndex.Config, (ulong)offset, data).Value);
    }

    private void WriteCommand(PciCommand command) => core.Write(RegionIndex.Config, ConfigOffset.Command, BitConverter.GetBytes((ushort)command));
}
