using Fabric.Pci.Recovery;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class TriggerTests
{
    [Fact]
    public void An_error_signals_ERR_every_time_ER_4()
    {
        var core = OpenDevice.New();
        var target = new FakeTarget();
        core.SetTrigger(IrqIndex.Err, target);

        core.ErrorDetected();
        core.ErrorDetected();

        Assert.Equal(2, target.Signals);
    }

    [Fact]
    public void The_vote_is_CAN_RECOVER_with_a_trigger_ER_1()
    {
        var core = OpenDevice.New();
        core.SetTrigger(IrqIndex.Err, new FakeTarget());

        Assert.Equal(RecoveryVote.CanRecover, core.ErrorDetected());
    }

    [Fact]
    public void The_vote_is_CAN_RECOVER_without_a_trigger_ER_1() =>
        Assert.Equal(RecoveryVote.CanRecover, OpenDevice.New().ErrorDetected());

    [Fact]
    public void The_vote_is_CAN_RECOVER_on_a_closed_device_ER_1() =>
        Assert.Equal(RecoveryVote.CanRecover, OpenDevice.Closed(new FakeFunction()).ErrorDetected());

    [Fact]
    public void An_error_does_not_signal_REQ()
    {
        var core = OpenDevice.New();
        var target = new FakeTarget();
        core.SetTrigger(IrqIndex.Req, target);

        core.ErrorDetected();

        Assert.Equal(0, target.Signals);
    }

    [Fact]
    public void A_request_signals_REQ_every_time_LC_34()
    {
        var core = OpenDevice.New();
        var target = new FakeTarget();
        core.SetTrigger(IrqIndex.Req, target);

        core.Request(0);
        core.Request(1);

        Assert.Equal(2, target.Signals);
    }

    [Fact]
    public void A_request_says_when_nobody_listens_LC_34() => Assert.Equal(RequestNotice.Unheard, OpenDevice.New().Request(0));

    [Fact]
    public void A_request_does_not_close_the_device_LC_34()
    {
        var core = OpenDevice.New();
        core.SetTrigger(IrqIndex.Req, new FakeTarget());

        core.Request(0);

        Assert.True(core.IsOpen);
    }

    [Fact]
    public void A_trigger_can_be_replaced_LC_36()
    {
        var core = OpenDevice.New();
        var (first, second) = (new FakeTarget(), new FakeTarget());
        core.SetTrigger(IrqIndex.Err, first);
        core.SetTrigger(IrqIndex.Err, second);

        core.ErrorDetected();

        Assert.Equal((0, 1), (first.Signals, second.Signals));
    }

    [Fact]
    public void A_trigger_can_be_cleared_IO_42()
    {
        var core = OpenDevice.New();
        var target = new FakeTarget();
        core.SetTrigger(IrqIndex.Err, target);
        core.SetTrigger(IrqIndex.Err, null);

        core.ErrorDetected();

        Assert.Equal(0, target.Signals);
    }

    [Theory]
    [InlineData(IrqIndex.Intx)]
    [InlineData(IrqIndex.Msi)]
    [InlineData(IrqIndex.Msix)]
    [InlineData((IrqIndex)(-1))]
    [InlineData((IrqIndex)5)]
    public void An_index_without_vectors_takes_no_trigger_IO_40(IrqIndex index) =>
        Assert.Equal(Errno.EINVAL, OpenDevice.New().SetTrigger(index, new FakeTarget()).Error.Errno);
}
