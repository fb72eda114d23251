using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class OpeningTests
{
    private const RegionFlags Mappable = RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap;

    [Fact]
    public void Enabling_stops_mastering_resets_restores_config_and_claims_the_BARs_LC_20()
    {
        var function = Card.Physical();
        function.Put16(ConfigOffset.Command, (ushort)PciCommand.BusMaster);
        var core = Card.Closed(function, options: new CoreOptions(DisableIdleD3: true));

        Assert.True(core.Enable().IsOk);

        Assert.Equal(["reset", "claim 0", "claim 2", "claim 4", "claim 5", "dma on"], function.Calls);
        Assert.True(function.Has(PciCommand.MemorySpace | PciCommand.IoSpace));
        Assert.False(function.Has(PciCommand.BusMaster));
        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        Assert.Empty(function.Violations);
    }

    [Fact]
    public void Enabling_wakes_the_device_LC_20()
    {
        var function = Card.Physical();
        var core = Card.Closed(function);

        core.Open();

        Assert.Equal(PciPowerState.D0, function.PowerState);
    }

    [Fact]
    public void A_device_that_does_not_wake_cannot_be_opened_LC_20()
    {
        var function = Card.Physical();
        var core = Card.Closed(function);
        function.IsStuck = true;

        Assert.Equal(Errno.EIO, core.Open().Error.Errno);
        Assert.False(core.IsOpen);
    }

    [Fact]
    public void An_open_that_met_a_contended_reset_leaves_the_device_as_it_was_LC_21()
    {
        var function = Card.Physical();
        var core = Card.Closed(function);
        function.OnReset = Errno.EAGAIN;

        Assert.Equal(Errno.EAGAIN, core.Open().Error.Errno);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        Assert.Null(function.Dma);
        Assert.Equal(0, core.References);
        core.Healthy();
    }

    [Theory]
    [InlineData(Errno.EBUSY)]
    [InlineData(Errno.ENOMEM)]
    [InlineData(Errno.ENODEV)]
    public void A_BAR_that_cannot_be_claimed_fails_its_use_and_not_the_open_LC_22(Errno claim)
    {
        var function = Card.Physical();
        function.Claims[CardFunction.MemoryBar] = claim;
        var core = Card.Open(function);

        Assert.Equal(claim, core.Read(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.Equal(claim, core.Write(CardFunction.MemoryBar, 0, new byte[4]).Error.Errno);
        Assert.Equal(claim, core.Map(CardFunction.MemoryBar).Error.Errno);
        Assert.Equal(claim, core.SetIoEventFd(new IoEvent(CardFunction.MemoryBar, 0, 4, 1), new FakeSource()).Error.Errno);
        Assert.Equal(Errno.ENODEV, core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Error.Errno);
        Assert.True(core.Read(CardFunction.MsixBar, 0, new byte[4]).IsOk);
    }

    [Fact]
    public void A_BAR_that_was_not_claimed_is_not_released_LC_22()
    {
        var function = Card.Physical();
        function.Claims[CardFunction.MemoryBar] = Errno.EBUSY;
        var core = Card.Open(function);

        core.Close();

        Assert.DoesNotContain("release 0", function.Calls);
        Assert.Contains("release 2", function.Calls);
    }

    [Fact]
    public void A_memory_BAR_is_mappable_and_an_IO_BAR_is_not_LC_23()
    {
        var core = Card.Open(Card.Physical());

        Assert.Equal(Mappable, core.GetRegionInfo(CardFunction.MemoryBar).Value.Flags);
        Assert.Equal(RegionFlags.Read | RegionFlags.Write, core.GetRegionInfo(CardFunction.IoBar).Value.Flags);
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public void A_BAR_below_a_page_is_mappable_where_it_has_its_page_to_itself_LC_23(bool shares, bool mappable)
    {
        var core = Card.Open(new CardFunction(Card.At(0))
        {
            Bars = [new(BarKind.Memory32, 0x100, SharesPage: shares), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None],
        });

        Assert.Equal(mappable, core.GetRegionInfo(0).Value.Flags == Mappable);
    }

    [Fact]
    public void No_BAR_of_a_device_that_is_flagged_so_is_mappable_LC_23()
    {
        var core = Card.Open(new CardFunction(Card.At(0), FunctionTraits.UnmappableBars));

        Assert.Equal(RegionFlags.Read | RegionFlags.Write, core.GetRegionInfo(CardFunction.MemoryBar).Value.Flags);
    }

    [Fact]
    public void No_BAR_is_mappable_before_the_second_phase_LC_23()
    {
        var core = Card.Closed(Card.Physical());
        core.Enable();

        Assert.Equal(Errno.EINVAL, core.Map(CardFunction.MemoryBar).Error.Errno);
        core.FinishEnable();
        Assert.True(core.Map(CardFunction.MemoryBar).IsOk);
    }

    [Fact]
    public void After_open_memory_can_be_used_and_nothing_else_is_on_LC_24()
    {
        var function = Card.Physical();
        var core = Card.Open(function);
        var command = new byte[2];
        core.Read(RegionIndex.Config, ConfigOffset.Command, command);

        Assert.True(core.IsMemoryUsable);
        Assert.Equal((byte)(PciCommand.MemorySpace | PciCommand.IoSpace), command[0]);
        Assert.Equal("none", core.Inspect()["session"]!["irq type"]!.Value);
        Assert.Equal(RequestNotice.Unheard, core.Request(0));
    }

    [Fact]
    public void Between_the_phases_a_driver_can_use_the_device_and_the_device_is_not_open_LC_25()
    {
        var core = Card.Closed(Card.Physical());
        core.Enable();

        Assert.False(core.IsOpen);
        Assert.True(core.Read(CardFunction.MemoryBar, 0, new byte[4]).IsOk);
        Assert.True(core.Map(CardFunction.MemoryBar, MapOptions.DriverOwned).IsOk);
    }

    [Fact]
    public void A_driver_whose_own_opening_failed_disables_and_nothing_is_left_LC_25()
    {
        var function = Card.Physical();
        var core = Card.Closed(function);
        core.Enable();

        core.Disable();

        Assert.Equal(0, core.References);
        Assert.Null(function.Dma);
        Assert.Equal(Errno.EINVAL, core.FinishEnable().Error.Errno);
        Assert.True(core.Open().IsOk);
    }

    [Fact]
    public void The_second_phase_is_done_once_LC_25() =>
        Assert.Equal(Errno.EINVAL, Card.Open(Card.Physical()).FinishEnable().Error.Errno);
}
