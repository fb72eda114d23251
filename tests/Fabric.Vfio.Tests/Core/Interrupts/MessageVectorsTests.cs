using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Uapi.IrqIndex;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>MSI and MSI-X: allocation, set block and its roll-back, growing.</summary>
public sealed class MessageVectorsTests
{
    private readonly FakeTarget[] targets = [new(), new(), new(), new()];

    [Theory]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void Enabling_allocates_start_plus_count_vectors_and_attaches_those_with_a_target_IO_43(IrqIndex type)
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();

        Assert.True(interrupts.Set(Request.Trigger(type, 1, Ref(0), EventRef.None, Ref(2))).IsDone);

        Assert.Equal([0, 1, 2, 3], function.Allocated.Order());
        Assert.Equal([1, 3], function.Connected.Keys.Order());
        Assert.Equal(type, interrupts.Active);
    }

    [Fact]
    public void An_interrupt_goes_from_hardware_straight_to_its_target_IO_43()
    {
        var function = new InterruptingFunction();
        function.Open().Set(Request.Trigger(Msix, 0, Ref(0), Ref(1)));

        Assert.Same(targets[1], function.Connected[1]);
    }

    [Theory]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void Fewer_vectors_than_asked_for_is_a_positive_return_with_nothing_enabled_IO_42(IrqIndex type)
    {
        var function = new InterruptingFunction { Available = 3 };
        var interrupts = function.Open();

        var set = interrupts.Set(Request.Trigger(type, 0, Ref(0), Ref(1), Ref(2), Ref(3)));

        Assert.Equal((3, 3, false, Errno.None), (set.ReturnValue, set.Available, set.IsDone, set.Error.Errno));
        Assert.Null(interrupts.Active);
        Assert.Empty(function.Connected);
    }

    [Fact]
    public void What_was_said_to_be_available_can_be_enabled_then_IO_42()
    {
        var interrupts = new InterruptingFunction { Available = 2 }.Open();
        var available = interrupts.Set(Request.Trigger(Msi, 0, Ref(0), Ref(1), Ref(2))).Available;

        Assert.True(interrupts.Set(Request.Trigger(Msi, 0, [.. targets.Take(available).Select(EventRef.Of)])).IsDone);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    public void No_vector_available_at_all_is_ENOSPC_IO_42(int available) =>
        Assert.Equal(Errno.ENOSPC, new InterruptingFunction { Available = available }.Open().Set(Request.Trigger(Msi, 0, Ref(0))).Error.Errno);

    [Fact]
    public void An_allocation_that_fails_returns_its_errno_and_enables_nothing_IO_42()
    {
        var interrupts = new InterruptingFunction { AllocateError = Errno.ENOMEM }.Open();

        Assert.Equal(Errno.ENOMEM, interrupts.Set(Request.Trigger(Msix, 0, Ref(0))).Error.Errno);
        Assert.Null(interrupts.Active);
    }

    [Theory]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void Enabling_no_vector_is_ERANGE_IO_42(IrqIndex type) =>
        Assert.Equal(Errno.ERANGE, new InterruptingFunction().Open().Set(Request.Trigger(type, 0)).Error.Errno);

    [Theory]
    [InlineData(Intx, Msi)]
    [InlineData(Intx, Msix)]
    [InlineData(Msi, Intx)]
    [InlineData(Msi, Msix)]
    [InlineData(Msix, Intx)]
    [InlineData(Msix, Msi)]
    public void Another_type_can_be_enabled_only_after_the_active_one_is_disabled_IO_42(IrqIndex active, IrqIndex other)
    {
        var interrupts = new InterruptingFunction().Open();
        interrupts.Set(Request.Trigger(active, 0, Ref(0)));
        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Trigger(other, 0, Ref(1))).Error.Errno);
        Assert.Equal(active, interrupts.Active);

        interrupts.Set(Request.Disable(active));

        Assert.True(interrupts.Set(Request.Trigger(other, 0, Ref(1))).IsDone);
        Assert.Equal(other, interrupts.Active);
    }

    [Fact]
    public void Disabling_detaches_and_frees_every_vector_INV_2()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msi, 0, Ref(0), Ref(1)));

        interrupts.Set(Request.Disable(Msi));

        Assert.Null(interrupts.Active);
        Assert.Empty(function.Connected);
        Assert.Empty(function.Allocated);
        Assert.Empty(interrupts.Inspect().Vectors);
    }

    [Fact]
    public void A_set_block_detaches_what_is_there_and_attaches_in_order_IO_43()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(1), Ref(2)));
        function.Calls.Clear();

        interrupts.Set(Request.Trigger(Msix, 0, Ref(3), EventRef.None));

        Assert.Equal(["disconnect 0", "connect 0", "disconnect 1"], function.Calls);
        Assert.Same(targets[3], function.Connected[0]);
        Assert.Same(targets[2], function.Connected[2]);
    }

    [Fact]
    public void The_first_vector_that_fails_detaches_those_from_start_to_itself_and_no_other_IO_43()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(0), Ref(0), Ref(0), Ref(0)));

        var set = interrupts.Set(Request.Trigger(Msix, 1, Ref(1), Request.BadFd, Ref(3)));

        Assert.Equal(Errno.EBADF, set.Error.Errno);
        Assert.Equal([0, 3, 4], function.Connected.Keys.Order());
        Assert.Equal(Msix, interrupts.Active);
    }

    [Fact]
    public void A_failure_while_enabling_disables_everything_IO_43()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();

        var set = interrupts.Set(Request.Trigger(Msi, 0, Ref(0), Ref(1), Request.NoEventfd));

        Assert.Equal(Errno.EINVAL, set.Error.Errno);
        Assert.Null(interrupts.Active);
        Assert.Empty(function.Connected);
        Assert.Empty(function.Allocated);
    }

    [Fact]
    public void A_vector_that_the_host_cannot_connect_returns_its_errno_and_rolls_back_IO_43()
    {
        var function = new InterruptingFunction { OnConnect = vector => vector == 2 ? Errno.ENOMEM : Errno.None };
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(1), EventRef.None, EventRef.None));

        Assert.Equal(Errno.ENOMEM, interrupts.Set(Request.Trigger(Msix, 1, Ref(1), Ref(2), Ref(3))).Error.Errno);
        Assert.Equal([0], function.Connected.Keys);
    }

    [Fact]
    public void A_descriptor_is_looked_at_only_when_its_turn_comes_IO_47()
    {
        var function = new InterruptingFunction { OnConnect = vector => vector == 1 ? Errno.ENOMEM : Errno.None };

        Assert.Equal(Errno.ENOMEM, function.Open().Set(Request.Trigger(Msix, 0, Ref(0), Ref(1), Request.BadFd)).Error.Errno);
    }

    [Fact]
    public void The_first_wrong_descriptor_gives_the_errno_IO_47()
    {
        Assert.Equal(Errno.EINVAL, new InterruptingFunction().Open().Set(Request.Trigger(Msi, 0, Request.NoEventfd, Request.BadFd)).Error.Errno);
        Assert.Equal(Errno.EBADF, new InterruptingFunction().Open().Set(Request.Trigger(Msi, 0, Request.BadFd, Request.NoEventfd)).Error.Errno);
    }

    [Fact]
    public void A_descriptor_that_nobody_resolved_is_EBADF_IO_47() =>
        Assert.Equal(Errno.EBADF, new InterruptingFunction().Open().Set(Request.Trigger(Msi, 0, default(EventRef))).Error.Errno);

    [Fact]
    public void A_vector_beyond_the_allocated_is_EINVAL_where_MSI_X_cannot_grow_IO_44()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Trigger(Msix, 5, Ref(1))).Error.Errno);
        Assert.Equal([0], function.Allocated);
    }

    [Fact]
    public void A_vector_beyond_the_allocated_is_allocated_on_demand_where_MSI_X_can_grow_IO_44()
    {
        var function = new InterruptingFunction { CanGrowMsix = true };
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));

        Assert.True(interrupts.Set(Request.Trigger(Msix, 5, Ref(1))).IsDone);

        Assert.Equal([0, 5], function.Allocated.Order());
        Assert.Same(targets[1], function.Connected[5]);
    }

    [Fact]
    public void MSI_does_not_grow_even_where_MSI_X_can_IO_44()
    {
        var interrupts = new InterruptingFunction { CanGrowMsix = true }.Open();
        interrupts.Set(Request.Trigger(Msi, 0, Ref(0)));

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Trigger(Msi, 1, Ref(1))).Error.Errno);
    }

    [Fact]
    public void Growing_that_fails_returns_its_errno_and_rolls_back_IO_44()
    {
        var function = new InterruptingFunction { CanGrowMsix = true, OnGrow = vector => vector == 6 ? Errno.ENOSPC : Errno.None };
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));

        Assert.Equal(Errno.ENOSPC, interrupts.Set(Request.Trigger(Msix, 5, Ref(1), Ref(2))).Error.Errno);
        Assert.Equal([0], function.Connected.Keys);
    }

    [Fact]
    public void Detaching_a_vector_that_was_never_allocated_allocates_nothing_IO_44()
    {
        var function = new InterruptingFunction { CanGrowMsix = true };
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));

        Assert.True(interrupts.Set(Request.Trigger(Msix, 5, EventRef.None)).IsDone);
        Assert.Equal([0], function.Allocated);
    }

    [Fact]
    public void A_detached_vector_keeps_its_interrupt_until_all_are_disabled_IO_44()
    {
        var function = new InterruptingFunction { CanGrowMsix = true };
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));
        interrupts.Set(Request.Trigger(Msix, 5, Ref(1)));

        interrupts.Set(Request.Trigger(Msix, 5, EventRef.None));
        Assert.Equal([0, 5], function.Allocated.Order());
        interrupts.Set(Request.Trigger(Msix, 5, Ref(2)));

        Assert.Equal(1, function.Calls.Count(call => call == "grow 5"));
    }

    [Fact]
    public void Attaching_the_same_target_again_connects_it_anew_IO_45()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));
        function.Calls.Clear();

        interrupts.Set(Request.Trigger(Msix, 0, Ref(0)));

        Assert.Equal(["disconnect 0", "connect 0"], function.Calls);
    }

    [Fact]
    public void After_a_reset_every_attached_MSI_X_vector_is_connected_anew_IO_52()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), EventRef.None, Ref(2)));
        function.Calls.Clear();

        interrupts.AfterReset();

        Assert.Equal(["disconnect 0", "connect 0", "disconnect 2", "connect 2"], function.Calls);
        Assert.Same(targets[2], function.Connected[2]);
    }

    [Fact]
    public void A_vector_that_cannot_be_connected_after_a_reset_is_shown_as_detached_IO_52()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open(msix: 2);
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(1)));
        function.OnConnect = vector => vector == 0 ? Errno.ENOMEM : Errno.None;

        interrupts.AfterReset();

        Assert.Equal([new(true, false), new(true, true)], interrupts.Inspect().Vectors);
    }

    [Fact]
    public void MSI_is_in_config_space_and_needs_nothing_after_a_reset_IO_52()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msi, 0, Ref(0)));
        function.Calls.Clear();

        interrupts.AfterReset();

        Assert.Empty(function.Calls);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 2)]
    [InlineData(5, 3)]
    [InlineData(17, 5)]
    [InlineData(32, 5)]
    public void MSI_fixes_the_log2_of_the_messages_that_the_guest_may_enable_IO_46(int vectors, int expected)
    {
        var interrupts = new InterruptingFunction().Open(msi: 32);

        interrupts.Set(Request.Trigger(Msi, 0, [.. Enumerable.Repeat(EventRef.None, vectors)]));

        Assert.Equal(expected, interrupts.MsiQueueMax);
    }

    [Fact]
    public void MSI_X_leaves_the_messages_of_MSI_alone_IO_46()
    {
        var interrupts = new InterruptingFunction().Open();

        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(1), Ref(2), Ref(3)));

        Assert.Equal(0, interrupts.MsiQueueMax);
    }

    [Fact]
    public void A_trigger_without_data_signals_the_attached_vectors_in_range_IO_41()
    {
        var interrupts = new InterruptingFunction().Open();
        interrupts.Set(Request.Trigger(Msix, 0, Ref(0), Ref(1), EventRef.None, Ref(3)));

        Assert.True(interrupts.Set(Request.None(Msix, IrqSetFlags.ActionTrigger, count: 15, start: 1)).IsDone);

        Assert.Equal([0, 1, 0, 1], targets.Select(target => target.Signals));
    }

    [Fact]
    public void A_trigger_with_bools_signals_those_that_are_not_0_IO_41()
    {
        var interrupts = new InterruptingFunction().Open();
        interrupts.Set(Request.Trigger(Msi, 0, Ref(0), Ref(1), Ref(2), Ref(3)));

        Assert.True(interrupts.Set(Request.Bools(Msi, IrqSetFlags.ActionTrigger, 1, 255, 0, 1)).IsDone);

        Assert.Equal([0, 1, 0, 1], targets.Select(target => target.Signals));
    }

    [Theory]
    [InlineData(Intx)]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void Tear_down_disables_whatever_is_active_and_keeps_ERR_and_REQ_LC_31(IrqIndex active)
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(active, 0, Ref(0)));
        interrupts.Set(Request.Trigger(Err, 0, Ref(1)));
        interrupts.Set(Request.Trigger(Req, 0, Ref(2)));
        interrupts.SetVirtuallyDisabled(true);

        interrupts.TearDown();

        var view = interrupts.Inspect();
        Assert.Null(view.Active);
        Assert.False(function.IsLineConnected);
        Assert.Empty(function.Allocated);
        Assert.False(view.Intx.IsVirtuallyDisabled);
        Assert.True(view is { HasErr: true, HasReq: true });
    }

    [Fact]
    public void Tear_down_with_nothing_active_tells_hardware_nothing_LC_31()
    {
        var function = new InterruptingFunction();

        function.Open().TearDown();

        Assert.Empty(function.Calls);
    }

    private EventRef Ref(int target) => EventRef.Of(targets[target]);
}
