using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Uapi.IrqIndex;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>ERR and REQ: one target each.</summary>
public sealed class ErrorAndRequestTests
{
    private readonly DeviceInterrupts interrupts = new InterruptingFunction().Open();
    private readonly FakeTarget target = new();

    [Fact]
    public void An_error_signals_ERR_each_time_and_not_REQ_ER_1()
    {
        var request = new FakeTarget();
        Register(Err, target);
        Register(Req, request);

        Assert.True(interrupts.SignalError());
        Assert.True(interrupts.SignalError());

        Assert.Equal((2, 0), (target.Signals, request.Signals));
    }

    [Fact]
    public void An_error_that_nobody_registered_for_is_silent_ER_1() => Assert.False(interrupts.SignalError());

    [Fact]
    public void A_request_signals_REQ_on_every_call_LC_34()
    {
        Register(Req, target);

        Assert.True(interrupts.SignalRequest());
        Assert.True(interrupts.SignalRequest());

        Assert.Equal(2, target.Signals);
    }

    [Fact]
    public void A_request_tells_that_nobody_registered_LC_34() => Assert.False(interrupts.SignalRequest());

    [Theory]
    [InlineData(Intx)]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void ERR_and_REQ_are_registered_and_replaced_whatever_type_is_active_LC_36(IrqIndex active)
    {
        Register(active, new FakeTarget());
        Register(Err, new FakeTarget());

        Register(Err, target);
        interrupts.SignalError();

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void While_targets_are_swapped_each_signal_goes_to_exactly_one_LC_36()
    {
        const int signals = 50_000;
        FakeTarget[] pair = [new(), new()];
        Register(Err, pair[0]);
        var hardware = new Thread(() =>
        {
            for (var i = 0; i < signals; i++)
                interrupts.SignalError();
        });

        hardware.Start();
        for (var i = 0; hardware.IsAlive; i++)
            Register(Err, pair[i & 1]);
        hardware.Join();

        Assert.Equal(signals, pair[0].Signals + pair[1].Signals);
    }

    [Theory]
    [InlineData(Err)]
    [InlineData(Req)]
    public void Minus_1_clears_the_target_IO_41(IrqIndex index)
    {
        Register(index, target);

        Assert.True(interrupts.Set(Request.Trigger(index, 0, EventRef.None)).IsDone);

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.None(index, IrqSetFlags.ActionTrigger)).Error.Errno);
    }

    [Theory]
    [InlineData(-2)]
    [InlineData(int.MinValue)]
    public void A_descriptor_below_minus_1_is_EINVAL_and_keeps_the_target_IO_47(int fd)
    {
        Register(Err, target);

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Trigger(Err, 0, new EventRef(fd, null))).Error.Errno);

        Assert.True(interrupts.SignalError());
    }

    [Fact]
    public void A_bad_descriptor_keeps_the_target_IO_47()
    {
        Register(Req, target);

        Assert.Equal(Errno.EBADF, interrupts.Set(Request.Trigger(Req, 0, Request.BadFd)).Error.Errno);

        Assert.True(interrupts.SignalRequest());
    }

    [Theory]
    [InlineData(Err)]
    [InlineData(Req)]
    public void Without_data_a_count_of_1_signals_and_0_clears_IO_41(IrqIndex index)
    {
        Register(index, target);

        Assert.True(interrupts.Set(Request.None(index, IrqSetFlags.ActionTrigger)).IsDone);
        Assert.Equal(1, target.Signals);
        Assert.True(interrupts.Set(Request.Disable(index)).IsDone);

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.None(index, IrqSetFlags.ActionTrigger)).Error.Errno);
        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void A_bool_signals_only_where_it_is_true_IO_41()
    {
        Register(Err, target);

        interrupts.Set(Request.Bools(Err, IrqSetFlags.ActionTrigger, 0, 0));
        Assert.Equal(0, target.Signals);
        interrupts.Set(Request.Bools(Err, IrqSetFlags.ActionTrigger, 0, 1));

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void A_close_drops_both_LC_30()
    {
        Register(Err, target);
        Register(Req, target);

        interrupts.DropTriggers();

        Assert.False(interrupts.SignalError());
        Assert.False(interrupts.SignalRequest());
    }

    private void Register(IrqIndex index, FakeTarget registered) => interrupts.Set(Request.Trigger(index, 0, EventRef.Of(registered)));
}
