using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class UnregisteringTests
{
    private readonly VfioPciDevices devices = new();
    private readonly VfioPciCore core;

    public UnregisteringTests() => core = devices.Register(Card.Physical()).Value;

    [Fact]
    public void A_closed_device_is_gone_at_once_and_nobody_is_asked_LC_32()
    {
        var leaving = core.Unregister();

        Assert.True(leaving.IsComplete);
        Assert.Equal(0, leaving.Requests);
        Assert.Empty(devices.Devices);
        core.Healthy();
    }

    [Fact]
    public void An_open_device_is_found_no_more_and_waits_for_its_close_LC_32()
    {
        core.Open();

        var leaving = core.Unregister();

        Assert.False(leaving.IsComplete);
        Assert.False(devices.TryFind(core.Address, out _));
        core.Close();
        Assert.True(leaving.IsComplete);
        core.Healthy();
    }

    [Fact]
    public void A_device_that_is_being_unregistered_is_not_opened_any_more_LC_14()
    {
        core.Unregister();

        Assert.Equal(Errno.ENODEV, core.Open().Error.Errno);
    }

    [Fact]
    public void An_exported_buffer_holds_the_registration_until_the_close_and_no_longer_LC_32_IO_92()
    {
        core.Open();
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        var leaving = core.Unregister();
        Assert.Equal(2, core.References);

        core.Close();

        Assert.True(leaving.IsComplete);
        Assert.True(buffer.IsDetached);
    }

    [Fact]
    public void A_device_that_is_being_unregistered_exports_no_buffer_IO_90()
    {
        core.Open();
        core.Unregister();

        Assert.Equal(Errno.ENODEV, core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Error.Errno);
    }

    [Fact]
    public void The_holder_is_requested_at_once_and_then_every_ten_seconds_LC_33()
    {
        var req = OpenWithRequest();

        var leaving = core.Unregister();
        Assert.Equal(1, req.Signals);
        leaving.Elapse();
        leaving.Elapse();

        Assert.Equal(3, req.Signals);
        Assert.Equal(TimeSpan.FromSeconds(10), Unregistration.Interval);
    }

    [Fact]
    public void A_signal_makes_the_wait_uninterruptible_warns_and_requests_once_more_LC_33_INV_10()
    {
        var req = OpenWithRequest();
        var leaving = core.Unregister();
        Assert.True(leaving.IsInterruptible);

        Assert.Equal(RequestNotice.Blocked | RequestNotice.Signalled, leaving.Interrupt());
        Assert.Equal(RequestNotice.None, leaving.Interrupt());

        Assert.False(leaving.IsInterruptible);
        Assert.Equal(2, req.Signals);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(9, 1)]
    [InlineData(10, 2)]
    [InlineData(39, 4)]
    public void REQ_is_signalled_once_and_once_more_for_every_ten_seconds_of_waiting_INV_10(int seconds, int signals)
    {
        var req = OpenWithRequest();
        var leaving = core.Unregister();
        for (var waited = 10; waited <= seconds; waited += 10)
            leaving.Elapse();
        core.Close();

        Assert.Equal(RequestNotice.None, leaving.Elapse());
        Assert.Equal((signals, signals), (req.Signals, leaving.Requests));
    }

    [Fact]
    public void Every_tenth_request_is_worth_a_notice_LC_34()
    {
        OpenWithRequest();

        Assert.Equal(
            [0, 10, 20],
            Enumerable.Range(0, 25).Where(n => core.Request(n) == (RequestNotice.Signalled | RequestNotice.Notice)));
    }

    [Fact]
    public void A_holder_that_does_not_listen_is_warned_of_once_LC_34()
    {
        core.Open();

        Assert.Equal([0], Enumerable.Range(0, 25).Where(n => core.Request(n) != RequestNotice.None));
        Assert.Equal(RequestNotice.Unheard, core.Request(0));
    }

    [Fact]
    public void The_core_never_closes_by_itself_LC_34_LC_35()
    {
        OpenWithRequest();
        var leaving = core.Unregister();
        for (var i = 0; i < 100; i++)
            leaving.Elapse();

        Assert.True(core.IsOpen);
        Assert.False(leaving.IsComplete);
    }

    [Fact]
    public void The_close_is_the_answer_to_a_request_LC_35()
    {
        OpenWithRequest();
        var leaving = core.Unregister();

        core.Close();

        Assert.True(leaving.IsComplete);
    }

    [Fact]
    public void A_REQ_target_installed_while_the_device_waits_hears_the_next_request_LC_36()
    {
        core.Open();
        var leaving = core.Unregister();
        Assert.Equal(RequestNotice.Unheard, leaving.Notice);
        var req = new FakeTarget();
        core.SetTrigger(IrqIndex.Req, req);

        leaving.Elapse();

        Assert.Equal(1, req.Signals);
    }

    [Fact]
    public void Unregistering_twice_is_one_unregistering()
    {
        var req = OpenWithRequest();

        Assert.Same(core.Unregister(), core.Unregister());
        Assert.Equal(1, req.Signals);
    }

    [Fact]
    public void An_address_can_be_registered_again_when_its_device_is_gone()
    {
        core.Unregister();

        Assert.True(devices.Register(Card.Physical()).IsOk);
    }

    private FakeTarget OpenWithRequest()
    {
        var req = new FakeTarget();
        core.Open();
        core.SetTrigger(IrqIndex.Req, req);
        return req;
    }
}
