using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Core;

public sealed class PowerTests
{
    private readonly CardFunction function = Card.Physical();
    private readonly FakeTarget wake = new();
    private readonly VfioPciCore core;
    private readonly RegionMapping mapping;
    private readonly DmaBuf buffer;

    public PowerTests()
    {
        core = Card.Open(function);
        mapping = core.Map(CardFunction.MemoryBar).Value;
        buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
    }

    // ---- Low power (LC-60 to LC-62) --------------------------------------------------------------------------------------------------

    [Fact]
    public void Entering_low_power_zaps_revokes_and_suspends_LC_60()
    {
        Assert.True(core.EnterLowPower().IsOk);

        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[4]).Error.Errno);
        Assert.True(buffer.IsRevoked);
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Healthy();
    }

    [Fact]
    public void Low_power_entered_twice_is_EINVAL_LC_60()
    {
        core.EnterLowPower();

        Assert.Equal(Errno.EINVAL, core.EnterLowPower().Error.Errno);
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
    }

    [Fact]
    public void A_read_in_low_power_finds_the_device_awake_and_leaves_it_asleep_LC_61()
    {
        core.EnterLowPower();

        Assert.True(core.Read(CardFunction.MemoryBar, 0, new byte[4]).IsOk);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void A_request_does_not_end_low_power_LC_61()
    {
        core.EnterLowPower();

        core.GetInfo();

        Assert.Equal(Errno.EIO, mapping.Write(0, new byte[4]).Error.Errno);
        Assert.Equal("yes", core.Inspect()["power"]!["low power engaged"]!.Value);
    }

    [Fact]
    public void A_device_that_does_not_wake_answers_EIO_LC_61_IO_110()
    {
        core.EnterLowPower();
        function.IsStuck = true;

        Assert.Equal(Errno.EIO, core.Read(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, core.GetInfo().Error.Errno);
        Assert.Equal(Errno.EIO, core.Reset().Error.Errno);
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void Config_space_is_what_it_was_when_the_device_wakes_LC_61()
    {
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        core.EnterLowPower();

        core.ExitLowPower();

        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
    }

    [Fact]
    public void The_wake_target_hears_of_the_hosts_wake_once_and_low_power_is_over_LC_62()
    {
        core.EnterLowPower(wake);
        Assert.Equal(0, wake.Signals);

        Assert.True(core.Wake());
        Assert.True(core.Wake());

        Assert.Equal(1, wake.Signals);
        Assert.Equal(PciPowerState.D0, function.PowerState);
        Assert.True(mapping.Read(0, new byte[4]).IsOk);
    }

    [Fact]
    public void The_wake_target_hears_of_the_holders_own_request_too_LC_62()
    {
        core.EnterLowPower(wake);

        core.GetInfo();
        core.GetInfo();

        Assert.Equal(1, wake.Signals);
        Assert.Equal(PciPowerState.D0, function.PowerState);
    }

    [Fact]
    public void Without_a_wake_target_the_device_sleeps_again_after_the_hosts_wake_LC_62()
    {
        core.EnterLowPower();

        core.Wake();

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Healthy();
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 1)]
    public void Leaving_low_power_gives_memory_and_buffers_back_LC_62(bool withWake, int signals)
    {
        core.EnterLowPower(withWake ? wake : null);

        Assert.True(core.ExitLowPower().IsOk);

        Assert.Equal(signals, wake.Signals);
        Assert.False(buffer.IsRevoked);
        Assert.True(mapping.Read(0, new byte[4]).IsOk);
        Assert.Equal(PciPowerState.D0, function.PowerState);
    }

    [Fact]
    public void Leaving_low_power_that_was_not_entered_is_no_error_LC_62() => Assert.True(core.ExitLowPower().IsOk);

    [Fact]
    public void Leaving_low_power_with_decode_off_leaves_buffers_revoked_LC_62()
    {
        core.WriteCommand(PciCommand.None);
        core.EnterLowPower();

        core.ExitLowPower();

        Assert.True(buffer.IsRevoked);
        core.Healthy();
    }

    [Fact]
    public void A_buffer_made_in_low_power_is_born_revoked_IO_91()
    {
        core.EnterLowPower();

        Assert.True(core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value.IsRevoked);
        core.Healthy();
    }

    // ---- Suspend (LC-63) -------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_suspend_starts_from_D0_whatever_the_holder_chose_LC_63()
    {
        core.WritePowerState(PciPowerState.D1);
        core.EnterLowPower();

        core.ExitLowPower();

        Assert.Equal(PciPowerState.D0, function.PowerState);
        Assert.True(function.Has(PciCommand.MemorySpace));
    }

    // ---- PMCSR (LC-64, LC-65) --------------------------------------------------------------------------------------------------------

    [Fact]
    public void D3hot_written_by_the_holder_zaps_and_revokes_LC_64()
    {
        core.WritePowerState(PciPowerState.D3Hot);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, core.Read(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.True(buffer.IsRevoked);
        Assert.False(core.IsMemoryUsable);
        core.Healthy();
    }

    [Fact]
    public void D0_written_by_the_holder_gives_memory_and_buffers_back_LC_64()
    {
        core.WritePowerState(PciPowerState.D3Hot);

        core.WritePowerState(PciPowerState.D0);

        Assert.True(mapping.Read(0, new byte[4]).IsOk);
        Assert.False(buffer.IsRevoked);
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void Memory_works_in_D1_LC_64()
    {
        core.WritePowerState(PciPowerState.D1);

        Assert.Equal(PciPowerState.D1, function.PowerState);
        Assert.True(mapping.Read(0, new byte[4]).IsOk);
    }

    [Fact]
    public void A_power_state_that_the_function_has_not_is_not_written_LC_64()
    {
        core.WritePowerState(PciPowerState.D2);

        Assert.Equal(PciPowerState.D0, function.PowerState);
    }

    [Fact]
    public void From_a_deeper_state_the_way_leads_to_D0_alone_LC_64()
    {
        core.WritePowerState(PciPowerState.D3Hot);

        core.WritePowerState(PciPowerState.D1);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Healthy();
    }

    [Fact]
    public void A_PF_with_VFs_stays_in_D0_and_the_write_succeeds_LC_64_SV_23_INV_6()
    {
        Assert.True(core.ConfigureSriov(2).IsOk);

        core.WritePowerState(PciPowerState.D3Hot);

        Assert.Equal(PciPowerState.D0, function.PowerState);
        Assert.True(mapping.Read(0, new byte[4]).IsOk);
        core.Healthy();
    }

    [Fact]
    public void Config_space_lost_in_D3hot_is_restored_on_the_way_to_D0_LC_65()
    {
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        core.WritePowerState(PciPowerState.D3Hot);

        core.WritePowerState(PciPowerState.D0);

        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
    }

    [Theory]
    [InlineData(PciCommand.None, PciCommand.MemorySpace)]
    [InlineData(PciCommand.MemorySpace, PciCommand.None)]
    public void Memory_decode_written_in_D3hot_is_not_undone_on_the_way_to_D0_LC_65(PciCommand before, PciCommand written)
    {
        core.WriteCommand(before);
        core.WritePowerState(PciPowerState.D3Hot);
        core.WriteCommand(written);

        core.WritePowerState(PciPowerState.D0);

        Assert.Equal(written == PciCommand.MemorySpace, function.Has(PciCommand.MemorySpace));
        Assert.Equal(written == PciCommand.MemorySpace, core.IsMemoryUsable);
        core.Healthy();
    }

    [Fact]
    public void What_the_holder_writes_in_D3hot_is_not_undone_where_config_space_is_kept_LC_65()
    {
        var kept = new CardFunction(Card.At(0), noSoftReset: true);
        var other = Card.Open(kept);
        other.WritePowerState(PciPowerState.D3Hot);
        other.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);

        other.WritePowerState(PciPowerState.D0);

        Assert.True(kept.Has(PciCommand.BusMaster));
    }

    [Fact]
    public void A_device_that_is_stuck_in_D3hot_when_it_is_opened_gives_nobody_its_memory_INV_1()
    {
        var (stuck, other) = StuckAndClosed();
        other.SetResetMethods([]);

        Assert.True(other.Open().IsOk);

        Assert.False(other.IsMemoryUsable);
        Assert.Equal(Errno.EIO, other.Read(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.Empty(stuck.Violations);
        other.Healthy();
    }

    [Fact]
    public void A_device_that_only_its_reset_at_opening_wakes_has_its_memory_LC_20()
    {
        var (_, other) = StuckAndClosed();

        Assert.True(other.Open().IsOk);

        Assert.True(other.IsMemoryUsable);
        Assert.True(other.Read(CardFunction.MemoryBar, 0, new byte[4]).IsOk);
        other.Healthy();
    }

    /// <summary>Its holder left it in D3hot, from where it does not wake, and its reset did not work when it was closed.</summary>
    private static (CardFunction Function, VfioPciCore Core) StuckAndClosed()
    {
        var stuck = new CardFunction(Card.At(0), noSoftReset: true);
        var device = Card.Open(stuck, options: new CoreOptions(DisableIdleD3: true));
        device.WritePowerState(PciPowerState.D3Hot);
        (stuck.IsStuck, stuck.OnReset) = (true, Errno.EIO);
        device.Close();
        stuck.OnReset = Errno.None;
        return (stuck, device);
    }
}
