using Fabric.Pci;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>The header and COMMAND (contract §3.2, §3.3).</summary>
public sealed class HeaderTests
{
    private const PciCommand On = PciCommand.MemorySpace | PciCommand.IoSpace;

    private readonly ConfigFunction function = new ConfigBuilder()
        .Word(ConfigOffset.Command, (ushort)On)
        .Dword(ConfigOffset.Bar0, 0xf000_0000)
        .Dword(ConfigOffset.Bar0 + 4, 0x0000_e001)
        .Dword(ConfigOffset.RomBar, 0xfe00_0000)
        .Build();

    private OpenConfig Open(FunctionTraits traits = FunctionTraits.None)
    {
        function.Traits = traits;
        return new OpenConfig(function);
    }

    // ---- Registers -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_VF_shows_the_ids_of_its_kind_where_hardware_reads_ones_CF_4()
    {
        function.PutDword(ConfigOffset.VendorId, uint.MaxValue);

        Assert.Equal(0xfab0_1b36u, Open(FunctionTraits.VirtualFunction).ReadDword(ConfigOffset.VendorId));
    }

    [Fact]
    public void Any_other_function_shows_the_ids_that_hardware_had_at_open_CF_4()
    {
        var open = Open();
        function.PutDword(ConfigOffset.VendorId, uint.MaxValue);

        Assert.Equal(0x1572_8086u, open.ReadDword(ConfigOffset.VendorId));
    }

    [Theory]
    [InlineData(ConfigOffset.Status, 2)]
    [InlineData(ConfigOffset.Command, 4)]
    public void Error_bits_of_STATUS_cannot_be_cleared_even_by_a_write_that_goes_across_COMMAND_Q_4(int at, int length)
    {
        CapabilitySamples.ClearByOneInHeader(function);
        function.PutWord(ConfigOffset.Status, 0xf900);

        Open().Write(at, [.. Enumerable.Repeat((byte)0xff, length)]);

        Assert.Equal(0xf900, function.Word(ConfigOffset.Status));
    }

    [Fact]
    public void Interrupt_line_is_scratch_CF_1()
    {
        var open = Open();

        open.WriteByte(ConfigOffset.InterruptLine, 0x5a);

        Assert.Equal((0x5au, 0), (open.ReadByte(ConfigOffset.InterruptLine), function.Config[ConfigOffset.InterruptLine]));
    }

    [Fact]
    public void The_interrupt_pin_is_hardwares_where_the_host_has_an_interrupt_for_it_CF_60() =>
        Assert.Equal((1, 1u), (Open().Config.InterruptPin, Open().ReadByte(ConfigOffset.InterruptPin)));

    [Fact]
    public void Without_an_interrupt_of_the_host_there_is_no_pin_CF_60()
    {
        function.HasLine = false;

        Assert.Equal(0, Open().Config.InterruptPin);
    }

    [Theory]
    [InlineData(FunctionTraits.BrokenIntx)]
    [InlineData(FunctionTraits.VirtualFunction)]
    public void A_function_whose_INTx_is_broken_or_is_not_there_shows_no_pin_CF_63(FunctionTraits traits)
    {
        var open = Open(traits);

        Assert.Equal((0, 0u), (open.Config.InterruptPin, open.ReadByte(ConfigOffset.InterruptPin)));
    }

    [Fact]
    public void That_the_host_masks_INTx_by_DisINTx_does_not_show_CF_61()
    {
        var open = Open();
        function.PutWord(ConfigOffset.Command, (ushort)(On | PciCommand.InterruptDisable));

        Assert.Equal((uint)On, open.ReadWord(ConfigOffset.Command));
    }

    // ---- COMMAND ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Memory_that_is_turned_off_is_blocked_before_hardware_sees_it_CF_10()
    {
        var open = Open();
        PciCommand? atBlock = null;
        open.Effects.OnCall = call => atBlock ??= call == "block" ? (PciCommand)function.Word(ConfigOffset.Command) : null;

        open.WriteWord(ConfigOffset.Command, 0);

        Assert.Equal((On, PciCommand.None), (atBlock ?? PciCommand.None, (PciCommand)function.Word(ConfigOffset.Command)));
    }

    [Fact]
    public void Memory_that_stays_off_is_blocked_again_CF_10()
    {
        var open = Open();
        open.WriteWord(ConfigOffset.Command, 0);

        open.WriteWord(ConfigOffset.Command, (uint)PciCommand.BusMaster);

        Assert.Equal(["block", "block"], open.Effects.Calls);
    }

    [Fact]
    public void Memory_that_stays_on_is_never_blocked_CF_10()
    {
        var open = Open();

        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.Equal(["unblock"], open.Effects.Calls);
    }

    [Fact]
    public void Decode_that_was_lost_behind_the_cores_back_has_the_BARs_written_anew_CF_11()
    {
        var open = Open();
        BackDoorReset(keepBars: true);

        open.WriteWord(ConfigOffset.Command, (uint)PciCommand.MemorySpace);

        Assert.Equal([0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30, 0x04], function.Writes.Select(write => write.Offset));
    }

    [Fact]
    public void IO_decode_that_was_lost_has_the_BARs_written_anew_too_CF_11()
    {
        var open = Open();
        function.PutWord(ConfigOffset.Command, (ushort)PciCommand.MemorySpace);

        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.Contains(function.Writes, write => write.Offset == ConfigOffset.Bar0);
    }

    [Fact]
    public void A_BAR_that_is_not_what_it_was_at_open_is_written_anew_by_any_COMMAND_write_CF_11()
    {
        var open = Open();
        BackDoorReset(keepBars: false);

        open.WriteWord(ConfigOffset.Command, 0);

        Assert.Equal((0xf000_0000u, 0xe001u, 0xfe00_0000u),
            (function.Dword(ConfigOffset.Bar0), function.Dword(ConfigOffset.Bar0 + 4), function.Dword(ConfigOffset.RomBar)));
    }

    [Fact]
    public void What_is_whole_is_not_mended_CF_11()
    {
        var open = Open();

        open.WriteWord(ConfigOffset.Command, 0);
        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.All(function.Writes, write => Assert.Equal(ConfigOffset.Command, write.Offset));
    }

    [Fact]
    public void The_BARs_of_a_VF_are_not_mended_CF_11()
    {
        var open = Open(FunctionTraits.VirtualFunction);
        BackDoorReset(keepBars: false);

        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.Equal(0u, function.Dword(ConfigOffset.Bar0));
    }

    [Fact]
    public void Where_INTx_is_broken_a_repair_disables_it_again_CF_11_CF_63()
    {
        var open = Open(FunctionTraits.BrokenIntx);
        BackDoorReset(keepBars: false);

        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.Equal(On | PciCommand.InterruptDisable, (PciCommand)function.Word(ConfigOffset.Command));
    }

    [Fact]
    public void Where_INTx_is_broken_the_user_cannot_enable_it_CF_63()
    {
        function.PutWord(ConfigOffset.Command, (ushort)(On | PciCommand.InterruptDisable));
        var open = Open(FunctionTraits.BrokenIntx);

        open.WriteWord(ConfigOffset.Command, (uint)On);

        Assert.Equal(On | PciCommand.InterruptDisable, (PciCommand)function.Word(ConfigOffset.Command));
    }

    [Fact]
    public void The_BARs_of_open_time_can_be_seen_CF_11() =>
        Assert.Equal([0xf000_0000u, 0xe001u, 0u, 0u, 0u, 0u, 0xfe00_0000u], Open().Config.RealBars);

    [Fact]
    public void The_shadow_keeps_what_was_written_though_hardware_loses_it_CF_12()
    {
        var open = Open();
        open.WriteWord(ConfigOffset.Command, (uint)On);
        function.PutWord(ConfigOffset.Command, 0);

        Assert.True(open.Config.MemoryEnabled);
    }

    [Fact]
    public void Memory_that_is_usable_again_is_given_back_after_hardware_has_it_CF_12()
    {
        var open = Open();
        open.WriteWord(ConfigOffset.Command, 0);
        PciCommand? atUnblock = null;
        open.Effects.OnCall = call => atUnblock ??= call == "unblock" ? (PciCommand)function.Word(ConfigOffset.Command) : null;

        open.WriteWord(ConfigOffset.Command, (uint)PciCommand.MemorySpace);

        Assert.Equal((PciCommand.MemorySpace, true), (atUnblock ?? PciCommand.None, open.Config.MemoryEnabled));
    }

    [Fact]
    public void Memory_that_is_off_is_not_given_back_CF_12()
    {
        var open = Open();

        open.WriteWord(ConfigOffset.Command, (uint)PciCommand.IoSpace);

        Assert.Equal((false, "block"), (open.Config.MemoryEnabled, Assert.Single(open.Effects.Calls)));
    }

    [Theory]
    [InlineData(FunctionTraits.VirtualFunction)]
    [InlineData(FunctionTraits.NoMemoryEnable)]
    public void Without_a_memory_enable_bit_in_hardware_the_bit_starts_as_1_CF_13(FunctionTraits traits)
    {
        function.PutWord(ConfigOffset.Command, 0);

        Assert.Equal((uint)PciCommand.MemorySpace, Open(traits).ReadWord(ConfigOffset.Command));
    }

    [Theory]
    [InlineData(FunctionTraits.VirtualFunction)]
    [InlineData(FunctionTraits.NoMemoryEnable)]
    public void Without_a_memory_enable_bit_in_hardware_the_users_is_the_shadows_alone_CF_13(FunctionTraits traits)
    {
        function.PutWord(ConfigOffset.Command, 0);
        var open = Open(traits);

        open.WriteWord(ConfigOffset.Command, (uint)(PciCommand.MemorySpace | PciCommand.BusMaster));
        var both = (open.ReadWord(ConfigOffset.Command), (PciCommand)function.Word(ConfigOffset.Command));
        open.WriteWord(ConfigOffset.Command, 0);

        Assert.Equal(((uint)(PciCommand.MemorySpace | PciCommand.BusMaster), PciCommand.BusMaster), both);
        Assert.Equal(0u, open.ReadWord(ConfigOffset.Command));
    }

    [Theory]
    [InlineData(FunctionTraits.VirtualFunction)]
    [InlineData(FunctionTraits.NoMemoryEnable)]
    public void Without_a_memory_enable_bit_in_hardware_memory_is_always_enabled_CF_13(FunctionTraits traits)
    {
        var open = Open(traits);

        open.WriteWord(ConfigOffset.Command, 0);

        Assert.True(open.Config.MemoryEnabled);
        Assert.Equal(["block", "unblock"], open.Effects.Calls);
    }

    [Theory]
    [InlineData(ConfigOffset.Command, 2)]
    [InlineData(ConfigOffset.Command + 1, 1)]
    [InlineData(ConfigOffset.Command, 4)]
    public void INTx_disable_that_is_set_or_cleared_is_told_CF_14(int at, int length)
    {
        var open = Open();
        var set = new byte[length];
        set[ConfigOffset.Command + 1 - at] = (byte)((uint)PciCommand.InterruptDisable >> 8);

        open.Write(at, set);
        var disabled = open.Config.IntxDisabled;
        open.Write(at, new byte[length]);

        Assert.Equal((true, false), (disabled, open.Config.IntxDisabled));
        Assert.Equal(["INTx off", "INTx on"], open.Effects.Calls.Where(call => call.StartsWith('I')));
    }

    [Fact]
    public void INTx_disable_that_stays_as_it_is_is_not_told_again_CF_14()
    {
        var open = Open();

        open.WriteByte(ConfigOffset.Command + 1, 0x04);
        open.WriteByte(ConfigOffset.Command + 1, 0x05);

        Assert.Equal("INTx off", Assert.Single(open.Effects.Calls));
    }

    [Fact]
    public void INTx_disable_that_hardware_had_at_open_is_told_by_the_first_COMMAND_write_CF_14()
    {
        function.PutWord(ConfigOffset.Command, (ushort)(On | PciCommand.InterruptDisable));
        var open = Open();

        open.WriteByte(ConfigOffset.Command, (byte)On);

        Assert.Equal(["unblock", "INTx off"], open.Effects.Calls);
    }

    [Fact]
    public void INTx_disable_never_reaches_hardware_CF_14()
    {
        Open().WriteWord(ConfigOffset.Command, (uint)(On | PciCommand.InterruptDisable));

        Assert.Equal(On, (PciCommand)function.Word(ConfigOffset.Command));
    }

    [Fact]
    public void Bus_master_goes_straight_to_hardware_CF_15()
    {
        var open = Open();

        open.WriteWord(ConfigOffset.Command, (uint)(On | PciCommand.BusMaster));

        Assert.Equal((On | PciCommand.BusMaster, (uint)(On | PciCommand.BusMaster)),
            ((PciCommand)function.Word(ConfigOffset.Command), open.ReadWord(ConfigOffset.Command)));
    }

    private void BackDoorReset(bool keepBars)
    {
        function.PutWord(ConfigOffset.Command, 0);
        for (var at = ConfigOffset.Bar0; at < ConfigOffset.CardBusCis && !keepBars; at += 4)
            function.PutDword(at, 0);
    }
}
