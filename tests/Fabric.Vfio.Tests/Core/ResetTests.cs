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
}
