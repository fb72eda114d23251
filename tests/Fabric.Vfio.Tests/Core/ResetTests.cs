using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class ResetTests
{
    private readonly CardFunction function = Card.Physical();
    private readonly ResetLog log = new();
    private readonly VfioPciCore core;

    public ResetTests()
    {
        core = Card.Open(function, new DriverDeclaration("variant") { Resets = log });
        log.Told.Clear();
    }

    [Fact]
    public void RESET_takes_the_device_out_of_D3_and_gives_buffers_back_IO_50()
    {
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        core.WritePowerState(PciPowerState.D3Hot);

        Assert.True(core.Reset().IsOk);

        Assert.False(buffer.IsRevoked);
        Assert.True(core.IsMemoryUsable);
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void Buffers_are_revoked_while_RESET_lasts_IO_50_IO_91()
    {
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        var during = false;
        function.DuringReset = () => during = buffer.IsRevoked;

        core.Reset();

        Assert.True(during);
    }

    [Fact]
    public void RESET_carries_config_space_over_IO_51()
    {
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        function.Put16(CardFunction.Express + PciExpressCapability.DeviceControl, 0x0010);

        core.Reset();

        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        Assert.Equal(0x0010, function.Get16(CardFunction.Express + PciExpressCapability.DeviceControl));
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void A_driver_is_told_before_and_after_IO_51()
    {
        core.Reset();

        Assert.Equal(["prepare", "done"], log.Told);
    }

    [Fact]
    public void A_driver_is_told_that_a_contended_reset_did_not_take_place_IO_51()
    {
        function.OnReset = Errno.EAGAIN;

        core.Reset();

        Assert.Equal(["prepare", "done EAGAIN"], log.Told);
    }

    [Theory]
    [InlineData(Errno.EAGAIN)]
    [InlineData(Errno.EIO)]
    public void A_reset_that_did_not_work_leaves_config_space_as_it_was_IO_51(Errno errno)
    {
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        function.OnReset = errno;

        Assert.Equal(errno, core.Reset().Error.Errno);
        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
        core.Healthy();
    }

    [Fact]
    public void Interrupts_stay_registered_over_a_reset_IO_52()
    {
        var err = new FakeTarget();
        core.SetTrigger(IrqIndex.Err, err);

        core.Reset();
        core.ErrorDetected();

        Assert.Equal(1, err.Signals);
    }

    [Fact]
    public void A_function_level_reset_by_config_write_resets_as_RESET_does_CF_33()
    {
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        function.Calls.Clear();

        core.Write(RegionIndex.Config, CardFunction.Express + PciExpressCapability.DeviceControl, [0x00, 0x80]);

        Assert.Equal(["reset"], function.Calls);
        Assert.Equal(["prepare", "done"], log.Told);
        Assert.True(function.Has(PciCommand.BusMaster));
        core.Healthy();
    }

    // ---- Methods (IO-51) -------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Methods_are_tried_in_the_order_that_was_set_IO_51()
    {
        var (methodical, device) = Methodical();

        Assert.True(device.SetResetMethods(["bus", "flr"]).IsOk);

        Assert.True(device.Reset().IsOk);
        Assert.Equal(["bus"], methodical.MethodsTried);
        Assert.Equal(["bus", "flr"], device.ResetMethods);
    }

    [Fact]
    public void A_method_that_does_not_suit_gives_way_to_the_next_and_one_left_out_is_never_tried_IO_51()
    {
        var (methodical, device) = Methodical();
        device.SetResetMethods(["bus", "flr"]);
        methodical.OnMethod["bus"] = Errno.ENOTTY;

        Assert.True(device.Reset().IsOk);

        Assert.Equal(["bus", "flr"], methodical.MethodsTried);
    }

    [Fact]
    public void Where_no_method_suits_RESET_is_ENOTTY_and_each_was_tried_once_IO_51()
    {
        var (methodical, device) = Methodical();
        methodical.OnReset = Errno.ENOTTY;

        Assert.Equal(Errno.ENOTTY, device.Reset().Error.Errno);

        Assert.Equal(["flr", "pm", "bus"], methodical.MethodsTried);
    }

    [Theory]
    [InlineData(Errno.EAGAIN)]
    [InlineData(Errno.EIO)]
    [InlineData(Errno.ETIMEDOUT)]
    public void A_method_that_failed_is_the_last_that_is_tried_IO_51(Errno errno)
    {
        var (methodical, device) = Methodical();
        methodical.OnMethod["flr"] = Errno.ENOTTY;
        methodical.OnMethod["pm"] = errno;

        Assert.Equal(errno, device.Reset().Error.Errno);

        Assert.Equal(["flr", "pm"], methodical.MethodsTried);
        device.Healthy();
    }

    [Theory]
    [InlineData("device_specific")]
    [InlineData("flr", "acpi")]
    [InlineData("flr", "flr")]
    [InlineData("FLR")]
    [InlineData("")]
    public void Methods_that_the_function_has_not_or_one_twice_are_EINVAL_and_change_nothing_IO_51(params string[] methods)
    {
        var (_, device) = Methodical();

        Assert.Equal(Errno.EINVAL, device.SetResetMethods([.. methods]).Error.Errno);

        Assert.Equal(["flr", "pm", "bus"], device.ResetMethods);
    }

    [Fact]
    public void With_no_method_left_RESET_is_ENOTTY_and_the_next_open_has_no_RESET_flag_IO_50_IO_51()
    {
        var (methodical, device) = Methodical();

        Assert.True(device.SetResetMethods([]).IsOk);

        Assert.Equal(Errno.ENOTTY, device.Reset().Error.Errno);
        Assert.True((device.GetInfo().Value.Flags & DeviceFlags.Reset) != 0);
        device.Close();
        device.Open();
        Assert.Empty(methodical.MethodsTried);
        Assert.True((device.GetInfo().Value.Flags & DeviceFlags.Reset) == 0);
        Assert.Equal(Errno.EINVAL, device.Reset().Error.Errno);
        device.Healthy();
    }

    [Fact]
    public void A_method_that_is_set_again_works_from_the_next_open_on_IO_50()
    {
        var (_, device) = Methodical();
        device.SetResetMethods([]);
        device.Close();
        device.Open();

        device.SetResetMethods(["pm"]);

        Assert.Equal(Errno.EINVAL, device.Reset().Error.Errno);
        device.Close();
        device.Open();
        Assert.True(device.Reset().IsOk);
    }

    // ---- By the host -----------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_by_the_host_is_as_RESET_for_the_holder_IO_50_IO_51()
    {
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        var during = false;
        function.DuringReset = () => during = buffer.IsRevoked;
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);

        Assert.True(core.ResetByHost().IsOk);

        Assert.True(during);
        Assert.False(buffer.IsRevoked);
        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
        Assert.Equal(["prepare", "done"], log.Told);
        Assert.Empty(function.Violations);
        core.Healthy();
    }

    [Fact]
    public void An_access_waits_until_a_reset_by_the_host_is_done_IO_50()
    {
        var mapping = core.Map(CardFunction.MemoryBar).Value;
        OtherThread<VfioResult> reader = null!;
        var waited = false;
        function.DuringReset = () =>
        {
            reader = new OtherThread<VfioResult>(() => mapping.Read(0, new byte[8]));
            waited = reader.Waits;
        };

        core.ResetByHost();

        Assert.True(reader.Result.IsOk);
        Assert.True(waited);
    }

    [Fact]
    public void A_reset_by_the_host_tries_the_one_method_that_it_names()
    {
        var (methodical, device) = Methodical();
        methodical.OnMethod["pm"] = Errno.ENOTTY;

        Assert.Equal(Errno.ENOTTY, device.ResetByHost("pm").Error.Errno);
        Assert.True(device.ResetByHost("bus").IsOk);

        Assert.Equal(["pm", "bus"], methodical.MethodsTried);
    }

    [Fact]
    public void A_reset_by_the_host_needs_no_method_that_the_holder_may_use()
    {
        var (methodical, device) = Methodical();
        device.SetResetMethods([]);

        Assert.Equal(Errno.ENOTTY, device.ResetByHost().Error.Errno);
        Assert.True(device.ResetByHost("bus").IsOk);

        Assert.Equal(["bus"], methodical.MethodsTried);
    }

    [Theory]
    [InlineData(true, Errno.EAGAIN)]
    [InlineData(true, Errno.EIO)]
    [InlineData(true, Errno.ETIMEDOUT)]
    [InlineData(false, Errno.EAGAIN)]
    [InlineData(false, Errno.EIO)]
    [InlineData(false, Errno.ETIMEDOUT)]
    public void A_reset_by_the_host_that_fails_says_so_and_leaves_config_space_as_it_was_IO_51(bool isOpen, Errno errno)
    {
        var card = Card.Physical();
        var device = isOpen ? Card.Open(card) : Card.Closed(card, options: new CoreOptions(DisableIdleD3: true));
        card.OnReset = errno;

        Assert.Equal(errno, device.ResetByHost().Error.Errno);

        Assert.Equal(0xfeb0, card.Get16(ConfigOffset.Bar0 + 2));
        Assert.Equal(isOpen, card.Has(PciCommand.MemorySpace));
        device.Healthy();
    }

    [Fact]
    public void A_reset_by_the_host_changes_nothing_of_whether_RESET_works_IO_50()
    {
        function.OnReset = Errno.EIO;

        core.ResetByHost();

        Assert.True(core.ResetWorks);
    }

    [Fact]
    public void A_reset_by_the_host_serves_a_closed_device_that_needs_one_LC_31()
    {
        function.OnReset = Errno.EAGAIN;
        core.Close();
        Assert.True(core.NeedsReset);
        function.OnReset = Errno.None;
        log.Told.Clear();

        Assert.True(core.ResetByHost().IsOk);

        Assert.False(core.NeedsReset);
        Assert.Equal(["prepare", "done"], log.Told);
        core.Healthy();
    }

    [Fact]
    public void A_closed_device_that_the_host_could_not_reset_needs_it_still_LC_31()
    {
        function.OnReset = Errno.EAGAIN;
        core.Close();

        core.ResetByHost();

        Assert.True(core.NeedsReset);
    }

    [Fact]
    public void A_closed_device_sleeps_on_after_a_reset_by_the_host_and_has_its_registers_when_it_is_opened_LC_4()
    {
        core.Close();
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);

        Assert.True(core.ResetByHost().IsOk);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Open();
        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        Assert.Empty(function.Violations);
        core.Healthy();
    }

    [Fact]
    public void A_reset_by_the_host_ends_the_low_power_of_a_holder_who_wanted_to_be_told_LC_62()
    {
        var wake = new FakeTarget();
        core.EnterLowPower(wake);

        Assert.True(core.ResetByHost().IsOk);

        Assert.Equal(1, wake.Signals);
        Assert.Equal(PciPowerState.D0, function.PowerState);
        core.Healthy();
    }

    [Fact]
    public void A_device_in_low_power_without_a_wake_target_sleeps_on_after_a_reset_by_the_host_LC_61()
    {
        core.EnterLowPower();

        Assert.True(core.ResetByHost().IsOk);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Healthy();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_device_that_does_not_wake_is_reset_by_the_host_all_the_same_and_that_may_wake_it(bool isOpen)
    {
        var wake = new FakeTarget();
        if (isOpen)
            core.EnterLowPower(wake);
        else
            core.Close();
        function.IsStuck = true;

        Assert.True(core.ResetByHost().IsOk);

        function.IsStuck = false;
        Assert.Equal(isOpen ? 1 : 0, wake.Signals);
        Assert.True(isOpen || core.Open().IsOk);
        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        core.Healthy();
    }

    [Fact]
    public void A_device_that_neither_wakes_nor_resets_is_as_it_was_after_a_reset_by_the_host()
    {
        core.EnterLowPower();
        function.IsStuck = true;
        function.OnReset = Errno.ETIMEDOUT;

        Assert.Equal(Errno.ETIMEDOUT, core.ResetByHost().Error.Errno);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        core.Healthy();
    }

    /// <summary>An open device whose function has three methods, none of them used yet.</summary>
    private static (CardFunction Function, VfioPciCore Core) Methodical()
    {
        var card = new CardFunction(Card.At(0)) { ResetMethods = ["flr", "pm", "bus"] };
        var device = Card.Open(card);
        card.MethodsTried.Clear();
        return (card, device);
    }
}
