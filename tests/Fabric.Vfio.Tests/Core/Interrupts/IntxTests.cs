using Fabric.Pci;
using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>INTx on a fake level-triggered line, masked by DisINTx or at the host.</summary>
public sealed class IntxTests
{
    private readonly FakeTarget target = new();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_self_test_finds_whether_DisINTx_works_LC_20(bool works) =>
        Assert.Equal(works ? IntxMasking.Function : IntxMasking.Host, new IntxRegisters(new InterruptingFunction { HasDisIntx = works }).Decide());

    [Theory]
    [InlineData(0x0406)]
    [InlineData(0x0106)]
    public void The_self_test_leaves_DisINTx_clear_and_the_rest_of_COMMAND_as_it_was_LC_20(int command)
    {
        var function = new InterruptingFunction();
        function.Put(ConfigOffset.Command, command);

        new IntxRegisters(function).Decide();

        Assert.Equal(command & ~0x0400, function.Get(ConfigOffset.Command));
    }

    [Fact]
    public void A_function_whose_INTx_is_broken_gets_DisINTx_set_and_no_self_test_CF_63()
    {
        var function = Broken();

        Assert.Equal(IntxMasking.AlwaysOff, new IntxRegisters(function).Decide());
        Assert.True(function.DisIntxIsSet);
    }

    [Fact]
    public void DisINTx_stays_set_when_MSI_of_a_broken_function_is_torn_down_CF_63()
    {
        var function = Broken();
        var interrupts = function.Open(pin: false);
        interrupts.Set(Request.Trigger(IrqIndex.Msi, 0, EventRef.Of(target)));

        interrupts.Set(Request.Disable(IrqIndex.Msi));

        Assert.True(function.DisIntxIsSet);
    }

    [Fact]
    public void DisINTx_of_a_broken_function_is_set_again_by_a_repair_CF_63()
    {
        var function = Broken();
        var interrupts = function.Open(pin: false);
        function.Put(ConfigOffset.Command, 0);

        interrupts.AfterRepair();

        Assert.True(function.DisIntxIsSet);
    }

    [Fact]
    public void The_user_cannot_clear_DisINTx_of_a_broken_function_CF_63()
    {
        var function = Broken();
        var interrupts = function.Open(pin: false);

        interrupts.SetVirtuallyDisabled(true);
        interrupts.SetVirtuallyDisabled(false);

        Assert.True(function.DisIntxIsSet);
    }

    [Fact]
    public void A_repair_leaves_DisINTx_of_a_sound_function_alone_CF_63()
    {
        var function = new InterruptingFunction();

        function.Open().AfterRepair();

        Assert.False(function.DisIntxIsSet);
    }

    [Fact]
    public void Without_a_line_of_the_host_enabling_is_ENODEV_CF_60()
    {
        var interrupts = new InterruptingFunction { HasLine = false }.Open();

        Assert.Equal(Errno.ENODEV, Enable(interrupts).Error.Errno);
        Assert.Null(interrupts.Active);
    }

    [Fact]
    public void A_line_that_is_taken_leaves_nothing_enabled_CF_60()
    {
        var function = new InterruptingFunction { HasDisIntx = false, LineError = Errno.EBUSY };
        var interrupts = function.Open();

        Assert.Equal(Errno.EBUSY, Enable(interrupts).Error.Errno);
        Assert.Null(interrupts.Active);
        Assert.Null(interrupts.BrokenInvariant());
        Assert.False(interrupts.Inspect().Intx.HasTarget);
    }

    [Theory]
    [InlineData(true, "line shared")]
    [InlineData(false, "line exclusive")]
    public void The_line_is_shared_only_where_DisINTx_masks_it_CF_61(bool hasDisIntx, string expected)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };

        Enable(function.Open());

        Assert.Equal(expected, function.Calls[0]);
    }

    [Fact]
    public void An_assertion_sets_DisINTx_and_signals_CF_61()
    {
        var function = new InterruptingFunction();
        Enable(function.Open());

        function.Assert();

        Assert.Equal(1, target.Signals);
        Assert.True(function.DisIntxIsSet);
    }

    [Fact]
    public void An_assertion_of_an_exclusive_line_masks_it_at_the_host_and_signals_CF_61()
    {
        var function = new InterruptingFunction { HasDisIntx = false };
        Enable(function.Open());

        function.Assert();

        Assert.Equal(1, target.Signals);
        Assert.True(function.IsLineMasked);
    }

    [Fact]
    public void The_line_is_masked_before_the_target_is_signalled_CF_61()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        var maskedThen = false;
        interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, EventRef.Of(new ActingTarget(() => maskedThen = interrupts.Inspect().Intx.IsMasked))));

        function.Assert();

        Assert.True(maskedThen);
    }

    [Fact]
    public void The_line_being_asserted_by_its_neighbour_is_not_claimed_CF_61()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);

        function.AssertByNeighbour();

        Assert.Equal(0, target.Signals);
        Assert.False(interrupts.Inspect().Intx.IsMasked);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Nothing_more_is_signalled_until_an_unmask_CF_62(bool hasDisIntx)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };
        var interrupts = function.Open();
        Enable(interrupts);
        function.Assert();
        function.Deassert();
        function.Assert();
        function.Deassert();
        Assert.Equal(1, target.Signals);

        interrupts.Set(Request.Unmasked);
        Assert.Equal(1, target.Signals);
        function.Assert();

        Assert.Equal(2, target.Signals);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_unmask_while_the_line_is_asserted_signals_once_more_and_stays_masked_CF_62(bool hasDisIntx)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };
        var interrupts = function.Open();
        Enable(interrupts);
        function.Assert();

        interrupts.Set(Request.Unmasked);

        Assert.Equal(2, target.Signals);
        Assert.True(interrupts.Inspect().Intx.IsMasked);
        Assert.True(hasDisIntx ? function.DisIntxIsSet : function.IsLineMasked);
    }

    [Fact]
    public void An_unmask_of_what_is_not_masked_signals_nothing_CF_62()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);

        interrupts.Set(Request.Unmasked);

        Assert.Equal(0, target.Signals);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_masked_line_signals_nothing_until_it_is_unmasked_CF_62(bool hasDisIntx)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };
        var interrupts = function.Open();
        Enable(interrupts);
        interrupts.Set(Request.Mask);
        function.Assert();
        Assert.Equal(0, target.Signals);

        interrupts.Set(Request.Unmasked);

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void A_bool_of_0_neither_masks_nor_unmasks_CF_62()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Bools(IrqIndex.Intx, IrqSetFlags.ActionMask, 0, 0));
        Assert.False(interrupts.Inspect().Intx.IsMasked);
        interrupts.Set(Request.Bools(IrqIndex.Intx, IrqSetFlags.ActionMask, 0, 1));

        interrupts.Set(Request.Bools(IrqIndex.Intx, IrqSetFlags.ActionUnmask, 0, 0));

        Assert.True(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void The_resample_eventfd_unmasks_each_time_it_is_signalled_CF_62()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);
        var resample = new FakeEventfd();
        interrupts.Set(Request.Unmask(EventRef.Of(resample)));
        function.Assert();

        resample.Signal();
        Assert.Equal(2, target.Signals);
        function.Deassert();
        resample.Signal();

        Assert.False(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void A_resample_eventfd_signalled_before_it_was_installed_unmasks_at_once_CF_62()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Mask);
        var resample = new FakeEventfd();
        resample.Signal();

        interrupts.Set(Request.Unmask(EventRef.Of(resample)));

        Assert.False(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void A_second_resample_eventfd_is_EBUSY_CF_62()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Unmask(EventRef.Of(new FakeEventfd())));

        Assert.Equal(Errno.EBUSY, interrupts.Set(Request.Unmask(EventRef.Of(new FakeEventfd()))).Error.Errno);
    }

    [Fact]
    public void What_is_wrong_with_a_resample_descriptor_comes_before_EBUSY_IO_47()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Unmask(EventRef.Of(new FakeEventfd())));

        Assert.Equal(Errno.EBADF, interrupts.Set(Request.Unmask(Request.BadFd)).Error.Errno);
    }

    [Fact]
    public void A_removed_resample_eventfd_is_not_listened_to_and_makes_room_for_another_CF_62()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        var first = new FakeEventfd();
        interrupts.Set(Request.Unmask(EventRef.Of(first)));

        interrupts.Set(Request.Unmask(EventRef.None));

        Assert.False(first.IsListenedTo);
        Assert.True(interrupts.Set(Request.Unmask(EventRef.Of(new FakeEventfd()))).IsDone);
    }

    [Fact]
    public void Disabling_INTx_ends_line_target_and_resample_eventfd_INV_2()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);
        var resample = new FakeEventfd();
        interrupts.Set(Request.Unmask(EventRef.Of(resample)));

        interrupts.Set(Request.Disable(IrqIndex.Intx));

        Assert.Null(interrupts.Active);
        Assert.False(function.IsLineConnected);
        Assert.False(resample.IsListenedTo);
        Assert.Null(interrupts.BrokenInvariant());
    }

    [Fact]
    public void A_target_that_can_only_be_signalled_is_no_resample_eventfd_IO_47()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Unmask(EventRef.Of(new FakeTarget()))).Error.Errno);
    }

    [Fact]
    public void A_descriptor_of_minus_1_enables_INTx_without_a_target_IO_42()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();

        Assert.True(interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, EventRef.None)).IsDone);
        function.Assert();

        Assert.Equal(IrqIndex.Intx, interrupts.Active);
        Assert.Equal(new IntxView(IntxMasking.Function, true, HasTarget: false, false, IsMasked: true, false), interrupts.Inspect().Intx);
    }

    [Fact]
    public void A_second_eventfd_takes_the_place_of_the_first_without_connecting_the_line_anew_IO_42()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);
        var second = new FakeTarget();

        interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, EventRef.Of(second)));
        function.Assert();

        Assert.Equal((0, 1), (target.Signals, second.Signals));
        Assert.Equal(["line shared"], function.Calls);
    }

    [Fact]
    public void A_bad_descriptor_leaves_the_target_that_is_there_IO_47()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);

        interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, Request.BadFd));
        function.Assert();

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void An_injected_interrupt_signals_once_and_masks_nothing_IO_41()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);

        interrupts.Set(Request.None(IrqIndex.Intx, IrqSetFlags.ActionTrigger));
        interrupts.Set(Request.Bools(IrqIndex.Intx, IrqSetFlags.ActionTrigger, 0, 1));
        interrupts.Set(Request.Bools(IrqIndex.Intx, IrqSetFlags.ActionTrigger, 0, 0));

        Assert.Equal(2, target.Signals);
        Assert.False(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void No_interrupt_can_be_injected_while_it_is_virtually_disabled_CF_14()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.SetVirtuallyDisabled(true);

        Assert.True(interrupts.Set(Request.None(IrqIndex.Intx, IrqSetFlags.ActionTrigger)).IsDone);

        Assert.Equal(0, target.Signals);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Virtually_disabled_is_masked_and_enabled_again_brings_what_is_pending_CF_14(bool hasDisIntx)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };
        var interrupts = function.Open();
        Enable(interrupts);
        interrupts.SetVirtuallyDisabled(true);
        function.Assert();
        Assert.Equal(0, target.Signals);

        interrupts.SetVirtuallyDisabled(false);

        Assert.Equal(1, target.Signals);
        Assert.True(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void An_unmask_while_virtually_disabled_is_refused_silently_CF_62()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);
        interrupts.SetVirtuallyDisabled(true);
        function.Assert();

        Assert.True(interrupts.Set(Request.Unmasked).IsDone);

        Assert.Equal(0, target.Signals);
        Assert.True(function.DisIntxIsSet);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void INTx_enabled_while_virtually_disabled_is_masked_at_first_CF_60(bool hasDisIntx)
    {
        var function = new InterruptingFunction { HasDisIntx = hasDisIntx };
        var interrupts = function.Open();
        interrupts.SetVirtuallyDisabled(true);
        function.Assert();

        Enable(interrupts);
        Assert.Equal(0, target.Signals);
        Assert.True(interrupts.Inspect().Intx.IsMasked);
        Assert.True(hasDisIntx ? function.DisIntxIsSet : function.IsLineMasked);
        interrupts.SetVirtuallyDisabled(false);

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void An_exclusive_line_left_masked_is_unmasked_when_it_is_enabled_again_CF_60()
    {
        var function = new InterruptingFunction { HasDisIntx = false };
        var interrupts = function.Open();
        Enable(interrupts);
        interrupts.Set(Request.Mask);
        interrupts.Set(Request.Disable(IrqIndex.Intx));

        Enable(interrupts);

        Assert.False(function.IsLineMasked);
    }

    [Fact]
    public void DisINTx_follows_the_user_while_INTx_is_not_set_up_CF_14()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();

        interrupts.SetVirtuallyDisabled(true);
        Assert.True(function.DisIntxIsSet);
        interrupts.SetVirtuallyDisabled(false);

        Assert.False(function.DisIntxIsSet);
    }

    [Fact]
    public void Writing_the_same_DisINTx_again_does_not_unmask_CF_14()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Mask);

        interrupts.SetVirtuallyDisabled(false);

        Assert.True(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void A_suspend_masks_and_the_resume_unmasks_LC_63()
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        Enable(interrupts);

        interrupts.Suspend();
        function.Assert();
        Assert.Equal(0, target.Signals);
        interrupts.Resume();

        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public void What_was_masked_before_a_suspend_is_masked_after_the_resume_LC_63()
    {
        var interrupts = new InterruptingFunction().Open();
        Enable(interrupts);
        interrupts.Set(Request.Mask);

        interrupts.Suspend();
        interrupts.Resume();

        Assert.True(interrupts.Inspect().Intx.IsMasked);
    }

    [Fact]
    public void A_suspend_without_INTx_leaves_DisINTx_alone_LC_63()
    {
        var function = new InterruptingFunction();

        function.Open().Suspend();

        Assert.False(function.DisIntxIsSet);
    }

    [Fact]
    public void Each_assertion_is_signalled_once_while_COMMAND_is_rewritten_by_another_thread_CF_61_CF_62()
    {
        const int rounds = 1000;
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        var resample = new FakeEventfd();
        using var signalled = new SemaphoreSlim(0);
        interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, EventRef.Of(new ActingTarget(() => signalled.Release()))));
        interrupts.Set(Request.Unmask(EventRef.Of(resample)));
        var done = false;
        var writer = new Thread(() =>
        {
            while (!Volatile.Read(ref done))
            {
                lock (interrupts.CommandGate)
                    Rewrite(function);
            }
        });
        writer.Start();

        var lost = 0;
        for (var i = 0; i < rounds && lost == 0; i++)
        {
            var hardware = new Thread(function.Assert);
            hardware.Start();
            lost += signalled.Wait(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken) ? 0 : 1;
            hardware.Join();
            function.Deassert();
            resample.Signal();
        }
        Volatile.Write(ref done, true);
        writer.Join();

        Assert.Equal(0, lost);
        Assert.Equal(0, signalled.CurrentCount);
    }

    private static void Rewrite(InterruptingFunction function)
    {
        Span<byte> command = stackalloc byte[2];
        function.ReadConfig(ConfigOffset.Command, command);
        command[0] ^= (byte)PciCommand.BusMaster;
        function.WriteConfig(ConfigOffset.Command, command);
    }

    private static InterruptingFunction Broken() => new() { Traits = FunctionTraits.BrokenIntx };

    private SetIrqsResult Enable(DeviceInterrupts interrupts) => interrupts.Set(Request.Trigger(IrqIndex.Intx, 0, EventRef.Of(target)));

    private sealed class ActingTarget(Action act) : IEventTarget
    {
        public void Signal() => act();
    }
}
