using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class SriovTests
{
    private readonly CardFunction function = Card.Physical();
    private readonly CardBus bus;
    private readonly VfioPciDevices devices;
    private readonly VfioPciCore core;

    public SriovTests()
    {
        bus = new CardBus(function);
        devices = new VfioPciDevices(bus);
        core = devices.Register(function, options: new CoreOptions(EnableSriov: true)).Value;
    }

    [Theory]
    [InlineData("")]
    [InlineData("two")]
    [InlineData("-1")]
    [InlineData("1.5")]
    [InlineData("0x")]
    [InlineData("65536")]
    [InlineData("2 3")]
    public void What_is_no_number_is_EINVAL_SV_1(string text) => Assert.Equal(Errno.EINVAL, core.WriteNumVfs(text).Error.Errno);

    [Theory]
    [InlineData("2")]
    [InlineData("2\n")]
    [InlineData("0x2")]
    public void A_number_is_written_as_the_attribute_takes_it_SV_1(string text) => Assert.Equal(2, core.WriteNumVfs(text).Value.Count);

    [Fact]
    public void More_than_TotalVFs_is_ERANGE_SV_2() => Assert.Equal(Errno.ERANGE, core.WriteNumVfs("5").Error.Errno);

    [Fact]
    public void A_function_without_the_capability_has_no_VFs_SV_2() =>
        Assert.Equal(Errno.ERANGE, devices.Register(new FakeFunction(isVirtual: false)).Value.WriteNumVfs("1").Error.Errno);

    [Fact]
    public void The_number_that_there_is_already_is_success_and_nothing_happens_SV_3()
    {
        core.WriteNumVfs("2");
        function.Calls.Clear();

        Assert.True(core.WriteNumVfs("2").IsOk);
        Assert.Empty(function.Calls);
    }

    [Fact]
    public void Zero_where_there_are_none_is_success_for_any_driver_SV_3() =>
        Assert.True(Card.Closed(Card.Physical(), new DriverDeclaration("variant")).WriteNumVfs("0").IsOk);

    [Fact]
    public void A_variant_driver_has_no_callback_ENOENT_SV_4() =>
        Assert.Equal(Errno.ENOENT, Card.Closed(Card.Physical(), new DriverDeclaration("variant"), new CoreOptions(EnableSriov: true)).WriteNumVfs("1").Error.Errno);

    [Fact]
    public void Plain_vfio_pci_is_not_allowed_by_default_ENOENT_SV_5() =>
        Assert.Equal(Errno.ENOENT, Card.Closed(Card.Physical()).WriteNumVfs("1").Error.Errno);

    [Fact]
    public void From_one_number_to_another_goes_by_way_of_zero_SV_6()
    {
        core.WriteNumVfs("2");

        Assert.Equal(Errno.EBUSY, core.WriteNumVfs("3").Error.Errno);
        core.WriteNumVfs("0");
        Assert.True(core.WriteNumVfs("3").IsOk);
    }

    [Fact]
    public void A_PF_that_is_listed_already_is_EINVAL_SV_7()
    {
        core.ConfigureSriov(1);

        Assert.Equal(Errno.EINVAL, core.ConfigureSriov(1).Error.Errno);
    }

    [Fact]
    public void A_PF_that_does_not_wake_makes_no_VFs_and_is_not_listed_SV_8()
    {
        function.IsStuck = true;
        Assert.Equal(Errno.EIO, core.WriteNumVfs("1").Error.Errno);
        function.IsStuck = false;

        Assert.True(core.WriteNumVfs("1").IsOk);
    }

    [Fact]
    public void What_hardware_refuses_leaves_the_PF_as_it_was_SV_9()
    {
        function.OnSetVirtualFunctions = Errno.ENOMEM;

        Assert.Equal(Errno.ENOMEM, core.WriteNumVfs("1").Error.Errno);

        Assert.False(core.IsSriovActive);
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
        function.OnSetVirtualFunctions = Errno.None;
        Assert.True(core.WriteNumVfs("1").IsOk);
    }

    [Fact]
    public void While_there_are_VFs_the_PF_is_awake_and_active_SV_10_INV_6()
    {
        Assert.Equal(2, core.WriteNumVfs("2").Value.Count);

        Assert.Equal((true, 2, PciPowerState.D0), (core.IsSriovActive, core.VirtualFunctions, function.PowerState));
        Assert.Equal(3, bus.Functions.Count);
        core.Healthy();
    }

    [Fact]
    public void A_PF_with_VFs_does_not_sleep_when_it_is_closed_SV_10_INV_6()
    {
        core.WriteNumVfs("1");
        core.Open();

        core.Close();

        Assert.Equal(PciPowerState.D0, function.PowerState);
        core.Healthy();
    }

    [Fact]
    public void A_reset_and_a_close_of_the_PF_leave_its_VFs_alone_SV_24()
    {
        core.WriteNumVfs("2");
        core.Open();
        core.Reset();
        core.Close();
        function.Calls.Clear();

        Assert.True(core.WriteNumVfs("2").IsOk);
        Assert.Empty(function.Calls);
    }

    [Fact]
    public void Zero_removes_the_VFs_and_the_PF_may_sleep_SV_11()
    {
        core.WriteNumVfs("2");
        var virtualFunction = devices.Register(bus.Functions[1]).Value;

        Assert.True(core.WriteNumVfs("0").Value.IsComplete);

        Assert.Equal(RegistrationState.Unregistered, virtualFunction.Registration);
        Assert.Equal((false, PciPowerState.D3Hot), (core.IsSriovActive, function.PowerState));
        Assert.Single(bus.Functions);
    }

    [Fact]
    public void Zero_waits_for_a_VF_that_is_open_and_asks_its_holder_SV_11()
    {
        core.WriteNumVfs("1");
        var virtualFunction = devices.Register(bus.Functions[1]).Value;
        virtualFunction.Open();
        var req = new FakeTarget();
        virtualFunction.SetTrigger(IrqIndex.Req, req);

        var change = core.WriteNumVfs("0").Value;
        Assert.Equal((false, 1, 1), (change.IsComplete, change.Count, req.Signals));
        change.Waiting[0].Elapse();
        Assert.Equal(2, req.Signals);
        virtualFunction.Close();

        Assert.True(change.Waiting[0].IsComplete);
        Assert.True(core.WriteNumVfs("0").Value.IsComplete);
        Assert.Equal(0, core.VirtualFunctions);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void VFs_are_made_whether_or_not_the_PF_is_open_SV_20(bool open)
    {
        if (open)
            core.Open();

        Assert.True(core.WriteNumVfs("1").IsOk);
        core.Healthy();
    }

    [Fact]
    public void New_VFs_are_meant_for_the_PFs_driver_SV_21()
    {
        core.WriteNumVfs("2");

        Assert.All(bus.Functions.Skip(1), made => Assert.Equal("vfio-pci", devices.DriverOverrideOf(made.Address)));
        Assert.False(devices.Register(bus.Functions[1]).Value.BypassesDriverOverride);
        core.WriteNumVfs("0");
        Assert.Null(devices.DriverOverrideOf(bus.Functions[0].Address with { Device = 16, Function = 1 }));
    }

    [Fact]
    public void A_VF_that_another_driver_takes_is_warned_of_and_not_prevented_SV_21()
    {
        core.WriteNumVfs("1");

        Assert.True(devices.Register(bus.Functions[1], new DriverDeclaration("other")).Value.BypassesDriverOverride);
    }

    [Fact]
    public void A_VF_knows_its_PF_only_where_the_core_made_it_SV_22()
    {
        core.WriteNumVfs("1");
        var ours = devices.Register(bus.Functions[1]).Value;
        var theirs = devices.Register(new CardFunction(Card.At(9, 1), FunctionTraits.VirtualFunction) { PhysicalFunction = Card.At(9) }).Value;

        Assert.Equal(core.Address.ToString(), ours.Inspect()["sriov"]!["physical function"]!.Value);
        Assert.Equal("none", theirs.Inspect()["sriov"]!["physical function"]!.Value);
    }

    [Fact]
    public void Unregistering_the_PF_removes_its_VFs_first_SV_23_LC_32()
    {
        core.WriteNumVfs("1");
        var virtualFunction = devices.Register(bus.Functions[1]).Value;

        Assert.True(core.Unregister().IsComplete);

        Assert.Equal(RegistrationState.Unregistered, virtualFunction.Registration);
        Assert.Contains("vfs 0", function.Calls);
    }

    [Fact]
    public void Unregistering_an_open_PF_with_VFs_leaves_it_awake_for_its_holder_SV_23_LC_32()
    {
        core.WriteNumVfs("2");
        devices.Register(bus.Functions[1]);
        core.Open();

        var leaving = core.Unregister();

        Assert.Equal((false, 1, PciPowerState.D0), (leaving.IsComplete, leaving.Requests, function.PowerState));
        Assert.Single(function.Calls, "vfs 0");
        core.Healthy();
    }

    [Fact]
    public void Unregistering_the_PF_waits_for_the_holders_of_its_VFs_then_for_its_own_SV_23_LC_32()
    {
        core.WriteNumVfs("1");
        var virtualFunction = devices.Register(bus.Functions[1]).Value;
        var (theirs, own) = (new FakeTarget(), new FakeTarget());
        virtualFunction.Open();
        virtualFunction.SetTrigger(IrqIndex.Req, theirs);
        core.Open();
        core.SetTrigger(IrqIndex.Req, own);

        var leaving = core.Unregister();
        leaving.Elapse();
        Assert.Equal((2, 0, false), (theirs.Signals, own.Signals, leaving.IsComplete));
        virtualFunction.Close();
        leaving.Elapse();
        Assert.Equal((2, 2, false), (theirs.Signals, own.Signals, leaving.IsComplete));
        core.Close();

        Assert.True(leaving.IsComplete);
        Assert.Single(bus.Functions);
    }
}
