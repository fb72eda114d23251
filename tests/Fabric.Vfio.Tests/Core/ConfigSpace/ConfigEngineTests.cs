using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>The engine (contract §3.1): two bitmaps a byte, chunks, gaps, the shadow's life.</summary>
public sealed class ConfigEngineTests
{
    private const int Pm = 0x40;
    private const int Msi = 0x50;

    private readonly OpenConfig open = new ConfigBuilder()
        .Standard(StandardCapability.PowerManagement, Pm, 0x03, 0x00, 0x08, 0x00)
        .Standard(StandardCapability.Msi, Msi, 0x00, 0x00)
        .Open();

    [Fact]
    public void A_read_takes_virtual_bits_from_the_shadow_and_the_rest_from_hardware_CF_1()
    {
        open.WriteWord(ConfigOffset.Command, (uint)(PciCommand.InterruptDisable | PciCommand.MemorySpace));
        open.Function.PutWord(ConfigOffset.Command, (ushort)PciCommand.SystemErrorEnable);

        Assert.Equal((uint)(PciCommand.InterruptDisable | PciCommand.SystemErrorEnable), open.ReadWord(ConfigOffset.Command));
    }

    [Fact]
    public void A_write_keeps_the_bits_that_are_not_writable_as_hardware_has_them_CF_1()
    {
        open.Function.PutWord(Pm + PowerManagementCapability.ControlStatus, 0x0001);

        open.WriteWord(Pm + PowerManagementCapability.ControlStatus, 0x0200);

        Assert.Equal(0x0201, open.Function.Word(Pm + PowerManagementCapability.ControlStatus));
    }

    [Fact]
    public void A_driver_can_make_bytes_its_own_that_hardware_never_sees_CF_1()
    {
        Assert.True(open.Config.MakeDriverVirtual(0x81, [0xaa, 0xbb]).IsOk);
        open.WriteDword(0x80, 0x44332211);

        Assert.Equal((0x44332211u, 0x44000011u), (open.ReadDword(0x80), open.Function.Dword(0x80)));
    }

    [Fact]
    public void What_a_driver_put_into_its_bytes_is_read_from_there_CF_1()
    {
        open.Config.MakeDriverVirtual(0x82, [0xaa]);

        Assert.Equal(0x00aa0000u, open.ReadDword(0x80));
    }

    [Theory]
    [InlineData(-1, 1)]
    [InlineData(0x1000, 1)]
    [InlineData(0xfff, 2)]
    public void A_driver_can_not_own_what_lies_outside_config_space_CF_2(int offset, int length) =>
        Assert.Equal(Errno.EFAULT, open.Config.MakeDriverVirtual(offset, new byte[length]).Error.Errno);

    [Theory]
    [InlineData(ConfigOffset.ConventionalSize, 256UL, 1)]
    [InlineData(ConfigOffset.ConventionalSize, 255UL, 2)]
    [InlineData(ConfigOffset.ConventionalSize, 0UL, 257)]
    [InlineData(ConfigOffset.ExtendedSize, 4096UL, 1)]
    [InlineData(ConfigOffset.ExtendedSize, 4093UL, 4)]
    [InlineData(ConfigOffset.ExtendedSize, ulong.MaxValue, 1)]
    [InlineData(ConfigOffset.ExtendedSize, 1UL << 32, 4)]
    public void An_access_that_leaves_config_space_is_EFAULT_and_does_nothing_CF_2(int size, ulong offset, int length)
    {
        var small = new ConfigBuilder(size).Open();
        var data = Enumerable.Repeat((byte)0x5a, length).ToArray();

        Assert.Equal(Errno.EFAULT, small.Config.Write(offset, data).Error.Errno);
        Assert.Equal(Errno.EFAULT, small.Config.Read(offset, data).Error.Errno);
        Assert.Empty(small.Function.Writes);
        Assert.All(data, value => Assert.Equal(0x5a, value));
    }

    [Fact]
    public void The_whole_of_config_space_can_be_read_at_once_CF_2()
    {
        var all = new byte[ConfigOffset.ExtendedSize];

        Assert.Equal(all.Length, open.Config.Read(0, all).Value);
        Assert.Equal((0x86, 0x80, (byte)StandardCapability.PowerManagement, (byte)StandardCapability.Msi), (all[0], all[1], all[Pm], all[Msi]));
    }

    [Theory]
    [InlineData(0x80, 8, "80+4 84+4")]
    [InlineData(0x81, 7, "81+1 82+2 84+4")]
    [InlineData(0x83, 2, "83+1 84+1")]
    [InlineData(0x82, 5, "82+2 84+2 86+1")]
    [InlineData(0x80, 3, "80+2 82+1")]
    public void An_access_is_chopped_into_naturally_aligned_chunks_of_4_bytes_at_most_CF_2(int at, int length, string chunks)
    {
        open.Write(at, new byte[length]);

        Assert.Equal(chunks, Writes(open));
    }

    /// <summary>MSI of 10 bytes ends in the middle of a dword; its data is virtual, what follows it is hardware's.</summary>
    [Fact]
    public void A_chunk_never_crosses_the_end_of_a_capability_CF_2()
    {
        open.WriteDword(Msi + 8, 0x44332211);

        Assert.Equal((0x44332211u, "5a+2", 0x4433), (open.ReadDword(Msi + 8), Writes(open), open.Function.Word(Msi + 10)));
    }

    [Fact]
    public void The_chunks_of_one_write_take_effect_in_order_CF_2()
    {
        open.Write(Pm + 4, [0x03, 0, 0, 0]);
        open.Write(0, [.. new byte[4], 0, 4, 0, 0]);

        Assert.Equal(["D3Hot", "block", "INTx off"], open.Effects.Calls);
    }

    [Fact]
    public void What_may_not_be_written_is_dropped_and_counts_as_written_CF_3()
    {
        open.WriteDword(ConfigOffset.Revision, 0xffff_ffff);

        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void A_listed_capability_without_rules_of_its_own_is_read_only_from_hardware_CF_3()
    {
        var sata = new ConfigBuilder().Standard(StandardCapability.Sata, 0x60).Open();
        sata.Function.PutDword(0x64, 0x1234_5678);

        sata.WriteDword(0x64, 0);

        Assert.Equal(0x1234_5678u, sata.ReadDword(0x64));
    }

    [Fact]
    public void Of_a_standard_capability_only_the_next_pointer_is_in_the_shadow_CF_3()
    {
        open.Function.PutWord(Pm, 0xeeee);

        Assert.Equal((0xeeu, (uint)Msi), (open.ReadByte(Pm), open.ReadByte(Pm + 1)));
    }

    [Fact]
    public void Of_an_extended_capability_the_first_dword_is_in_the_shadow_CF_3()
    {
        var extended = CapabilitySamples.WithExpress().Extended(ExtendedCapability.DeviceSerialNumber, 0x100).Open();
        extended.Function.PutDword(0x100, 0xdead_beef);
        extended.Function.PutDword(0x104, 0xdead_beef);

        Assert.Equal((0x0001_0003u, 0xdead_beefu), (extended.ReadDword(0x100), extended.ReadDword(0x104)));
    }

    [Fact]
    public void Gaps_between_capabilities_are_raw_hardware_CF_3()
    {
        open.WriteDword(0x90, 0xcafe_f00d);
        open.Function.PutDword(0x94, 0x1357_9bdf);

        Assert.Equal((0xcafe_f00du, 0x1357_9bdfu), (open.Function.Dword(0x90), open.ReadDword(0x94)));
    }

    [Fact]
    public void The_shadow_is_filled_from_hardware_at_each_open_and_nothing_persists_CF_4()
    {
        open.WriteByte(ConfigOffset.InterruptLine, 0x77);
        open.Function.Config[ConfigOffset.InterruptLine] = 0x0a;

        var again = new OpenConfig(open.Function);

        Assert.Equal((0x77u, 0x0au), (open.ReadByte(ConfigOffset.InterruptLine), again.ReadByte(ConfigOffset.InterruptLine)));
    }

    [Fact]
    public void Opening_writes_nothing_to_hardware_CF_4() => Assert.Empty(open.Function.Writes);

    [Theory]
    [InlineData(ConfigOffset.Command + 1)]
    [InlineData(Pm + PowerManagementCapability.ControlStatus + 1)]
    public void A_chunk_that_starts_behind_a_register_does_not_make_it_act_CF_5(int at)
    {
        open.WriteByte(at, 0x03);

        Assert.Empty(open.Effects.Calls);
    }

    [Theory]
    [InlineData(0, 8)]
    [InlineData(2, 4)]
    [InlineData(3, 2)]
    [InlineData(4, 1)]
    public void A_longer_write_across_COMMAND_acts_because_one_of_its_chunks_starts_there_CF_5(int at, int length)
    {
        open.Write(at, new byte[length]);

        Assert.Equal("block", Assert.Single(open.Effects.Calls));
    }

    [Fact]
    public void A_read_or_write_of_no_more_than_a_dword_allocates_nothing()
    {
        // The fake remembers what hardware is written: a virtual register is written that it does not see.
        Span<byte> data = stackalloc byte[4];
        var config = open.Config;
        config.Read(0, data);
        config.Write(ConfigOffset.Bar0, data);
        config.Read(ulong.MaxValue, data);

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var at = 0; at < ConfigOffset.ExtendedSize; at += 4)
        {
            config.Read((ulong)at, data);
            config.Write(ConfigOffset.Bar0, data);
            config.Read(ulong.MaxValue, data);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void An_inspection_names_registers_and_shows_what_the_user_would_read()
    {
        open.WriteWord(Msi + 8, 0x4021);

        var shown = open.Config.Inspect().ToDictionary();

        Assert.Equal(("0x8086", "at 0x50, 10 bytes", "0x4021", "yes"), (shown["vendor"], shown["MSI"], shown["MSI data"], shown["memory enabled"]));
    }

    [Fact]
    public void An_inspection_changes_nothing()
    {
        Assert.NotEmpty(open.Config.Inspect().ToList());

        Assert.Empty(open.Function.Writes);
        Assert.Empty(open.Effects.Calls);
    }

    private static string Writes(OpenConfig open) => string.Join(' ', open.Function.Writes.Select(write => $"{write.Offset:x}+{write.Bytes.Length}"));
}
