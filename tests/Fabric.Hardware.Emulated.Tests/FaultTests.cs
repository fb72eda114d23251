using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests;

public sealed class FaultTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly PciAddress Physical = Zoo.At("fab0:01:00.0");
    private static readonly PciAddress Virtual = Zoo.At("fab0:01:00.2");
    private static readonly PciAddress Port = Zoo.At("fab0:00:01.0");

    private readonly Zoo zoo = new(new EmulatedBusOptions(1, 3, AcceleratorState.Granule)
    {
        Cards = [new EmulatedCard(EmulatedModels.MultiFunction), new EmulatedCard(EmulatedModels.Conventional)],
    });

    private EmulatedBus Bus => zoo.Bus;

    private IEnumerable<string> Happened => zoo.Events.Select(happened => happened switch
    {
        FunctionAppeared appeared => $"+{appeared.Function.Address.ToString()[5..]}",
        FunctionVanished vanished => $"-{vanished.Address.ToString()[5..]}",
        _ => happened.GetType().Name,
    });

    // ---- AER -------------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(AerSeverity.Correctable, AerRegister.CorrectableStatus, 0x1u, 1 << 0)]
    [InlineData(AerSeverity.NonFatal, AerRegister.UncorrectableStatus, 0x1000u, 1 << 1)]
    [InlineData(AerSeverity.Fatal, AerRegister.UncorrectableStatus, 0x4_0000u, 1 << 2)]
    public void An_error_stands_in_the_functions_own_registers(AerSeverity severity, int status, uint expected, int deviceStatus)
    {
        var function = zoo["fab0:02:00.1"];

        Assert.True(Bus.InjectAer(function.Address, severity).IsOk);

        Assert.Equal(expected, function.Config32(0x100 + status));
        Assert.Equal(deviceStatus, function.Config16(0x48 + PciExpressCapability.DeviceStatus));
        var record = Assert.IsType<AerReported>(Assert.Single(zoo.Events)).Record;
        Assert.Equal((severity, expected), (record.Severity, record.Status));
    }

    [Theory]
    [InlineData(AerSeverity.NonFatal, 12)]
    [InlineData(AerSeverity.Fatal, 18)]
    public void The_header_log_holds_the_packet_of_the_first_error_until_its_status_is_cleared(AerSeverity first, int bit)
    {
        var function = zoo["fab0:02:00.1"];
        Bus.InjectAer(function.Address, first);
        Bus.InjectAer(function.Address, first == AerSeverity.Fatal ? AerSeverity.NonFatal : AerSeverity.Fatal);
        var records = zoo.Events.Cast<AerReported>().Select(reported => reported.Record).ToArray();

        Assert.Equal(records[0].HeaderLog, records[1].HeaderLog);
        Assert.Equal(records[0].HeaderLog.Dword0, function.Config32(0x100 + AerRegister.HeaderLog));
        Assert.Equal(((uint)function.Address.RoutingId << 16) | 0x0f, function.Config32(0x100 + AerRegister.HeaderLog + 4));
        Assert.Equal(bit, (int)(function.Config32(0x100 + AerRegister.Control) & 0x1f));
        function.Config32(0x100 + AerRegister.UncorrectableStatus, uint.MaxValue);
        Bus.InjectAer(function.Address, first == AerSeverity.Fatal ? AerSeverity.NonFatal : AerSeverity.Fatal);

        Assert.NotEqual(records[0].HeaderLog, ((AerReported)zoo.Events[2]).Record.HeaderLog);
    }

    [Theory]
    [InlineData(AerSeverity.Fatal, AcceleratorStatus.InternalError)]
    [InlineData(AerSeverity.NonFatal, AcceleratorStatus.None)]
    public void A_port_reports_as_well_and_its_fatal_error_stops_what_is_below(AerSeverity severity, AcceleratorStatus expected)
    {
        Assert.True(Bus.InjectAer(Port, severity).IsOk);

        Assert.Equal(Port, ((AerReported)zoo.Events[0]).Record.Source);
        Assert.All(Bus.Functions.OfType<AcceleratorVirtualFunction>(), function => Assert.Equal(expected, StatusOf(function)));
    }

    [Fact]
    public void A_function_without_AER_reports_nothing_and_the_bridge_above_it_does()
    {
        Assert.Equal(Errno.EOPNOTSUPP, Bus.InjectAer(Zoo.At("fab0:04:00.0"), AerSeverity.Fatal).Error.Errno);
        Assert.Empty(zoo.Events);

        Assert.True(Bus.InjectAer(Zoo.At("fab0:03:00.0"), AerSeverity.Fatal).IsOk);
    }

    // ---- Hangs -----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(HangPoint.Config)]
    [InlineData(HangPoint.Region)]
    [InlineData(HangPoint.Reset)]
    [InlineData(HangPoint.Sriov)]
    public async Task A_hung_call_returns_when_it_is_released_and_no_other_kind_hangs(HangPoint point)
    {
        var function = zoo["fab0:01:00.0"];
        function.Command(PciCommand.MemorySpace);
        Assert.True(Bus.Hang(Physical, point).IsOk);
        foreach (var other in Enum.GetValues<HangPoint>().Where(other => other != point))
            Call(function, other);

        var hung = Start(() => Call(function, point));
        UntilHung(Physical);
        Assert.False(hung.IsCompleted);
        Assert.True(Bus.Release(Physical).IsOk);

        await hung.WaitAsync(Patience, TestContext.Current.CancellationToken);
        Call(function, point);
    }

    [Fact]
    public async Task A_hang_of_one_function_is_none_of_another_and_the_bus_goes_on()
    {
        Bus.Hang(Physical, HangPoint.Reset);
        var hung = Start(() => Call(zoo["fab0:01:00.0"], HangPoint.Reset));
        UntilHung(Physical);

        Assert.True(zoo["fab0:01:00.1"].Reset(ResetMethod.FunctionLevel).IsOk);
        Assert.True(Bus.PullOut(Virtual).IsOk);
        Assert.True(Bus.HotReset(Zoo.At("fab0:02:00.0")).IsOk);
        Bus.Release(Physical);

        await hung.WaitAsync(Patience, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_call_that_hangs_in_a_function_that_is_pulled_out_can_still_be_released_and_finds_it_gone()
    {
        var function = zoo["fab0:01:00.2"];
        Bus.Hang(Virtual, HangPoint.Region);
        var hung = Task.Factory.StartNew(() => function.Read(0), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        UntilHung(Virtual);

        Bus.PullOut(Virtual);
        Assert.Equal(1, Bus.HungCalls(Virtual));
        Bus.Release(Virtual);

        Assert.Equal(Errno.EIO, await hung.WaitAsync(Patience, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Nothing_hangs_any_more_in_what_was_replaced_or_when_the_bus_is_disposed_of()
    {
        var (first, second) = (zoo["fab0:01:00.2"], zoo["fab0:01:00.3"]);
        Bus.Hang(Virtual, HangPoint.Config);
        Bus.Hang(second.Address, HangPoint.Config);
        var replaced = Start(() => first.Config32(0));
        var disposed = Start(() => second.Config32(0));
        UntilHung(Virtual);
        UntilHung(second.Address);

        Bus.PullOut(Virtual);
        Bus.PutBack(Virtual);
        await replaced.WaitAsync(Patience, TestContext.Current.CancellationToken);
        Assert.False(disposed.IsCompleted);
        Bus.Dispose();

        await disposed.WaitAsync(Patience, TestContext.Current.CancellationToken);
        Assert.Equal(Errno.ENODEV, Bus.Hang(Physical, HangPoint.Config).Error.Errno);
    }

    // ---- Pulled out and put back -----------------------------------------------------------------------------------------------------

    [Fact]
    public void A_function_that_is_pulled_out_reads_all_ones_and_answers_nothing()
    {
        var function = zoo["fab0:02:00.1"];
        function.Command(PciCommand.MemorySpace);

        Assert.True(Bus.PullOut(function.Address).IsOk);

        Assert.Equal((uint.MaxValue, Errno.EIO), (function.Config32(0), function.Read(0)));
        Assert.Equal(Errno.EIO, function.Reset(ResetMethod.FunctionLevel).Error.Errno);
        Assert.Equal(["-02:00.1"], Happened);
        Assert.Equal(Errno.ENODEV, Bus.PullOut(function.Address).Error.Errno);
    }

    [Fact]
    public void What_is_put_back_is_a_new_function_as_at_power_on_where_the_old_one_was()
    {
        var old = zoo["fab0:02:00.1"];
        var address = old.Config32(ConfigOffset.Bar0);
        old.Command(PciCommand.MemorySpace);
        Bus.PullOut(old.Address);

        Assert.True(Bus.PutBack(old.Address).IsOk);

        var fresh = zoo["fab0:02:00.1"];
        Assert.NotSame(old, fresh);
        Assert.Equal((PciCommand.None, address), (fresh.Command(), fresh.Config32(ConfigOffset.Bar0)));
        Assert.Equal(uint.MaxValue, old.Config32(0));
        Assert.Equal(new FunctionAppeared(fresh), zoo.Events[1]);
        Assert.Equal(Errno.EEXIST, Bus.PutBack(old.Address).Error.Errno);
        Assert.Equal(Errno.ENODEV, Bus.PutBack(Zoo.At("fab0:09:00.0")).Error.Errno);
    }

    [Fact]
    public void VFs_go_before_their_PF_and_those_that_were_there_from_the_start_come_back_with_it()
    {
        Bus.PullOut(Physical);
        Assert.Equal(Errno.ENODEV, Bus.PutBack(Virtual).Error.Errno);
        Bus.PutBack(Physical);

        Assert.Equal(["-01:00.3", "-01:00.2", "-01:00.1", "-01:00.0", "+01:00.0", "+01:00.1", "+01:00.2", "+01:00.3"], Happened);
    }

    [Fact]
    public void An_engine_that_is_pulled_out_writes_nothing_any_more_and_the_one_put_back_does_not_run()
    {
        using var bench = new RunningAccelerator(zoo.Time, (AcceleratorVirtualFunction)zoo["fab0:01:00.2"]);
        bench.RunTicks(5);
        var before = bench.Head;
        Assert.NotEqual(0UL, before);

        Bus.PullOut(Virtual);
        bench.RunTicks(5);
        Bus.PutBack(Virtual);
        bench.RunTicks(5);

        Assert.Equal(before, bench.Head);
    }

    [Fact]
    public void A_removed_function_comes_back_by_a_rescan()
    {
        Bus.Remove(Zoo.At("fab0:04:00.0"));

        Assert.True(Bus.PutBack(Zoo.At("fab0:04:00.0")).IsOk);
    }

    // ---- Flapping links --------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_flapping_link_takes_its_card_down_and_up_by_the_clock()
    {
        Assert.True(Bus.Flap(Zoo.At("fab0:04:00.0"), 2, TimeSpan.FromSeconds(3)).IsOk);
        Assert.Equal(["-04:00.0"], Happened);
        zoo.Time.Advance(TimeSpan.FromSeconds(2.9));
        Assert.Single(zoo.Events);

        zoo.Time.Advance(TimeSpan.FromSeconds(100));

        Assert.Equal(["-04:00.0", "+04:00.0", "-04:00.0", "+04:00.0"], Happened);
    }

    [Fact]
    public void A_link_is_that_of_all_functions_of_the_card()
    {
        Bus.Flap(Zoo.At("fab0:02:00.2"), 1, TimeSpan.FromSeconds(1));
        zoo.Time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(["-02:00.3", "-02:00.2", "-02:00.1", "-02:00.0", "+02:00.0", "+02:00.1", "+02:00.2", "+02:00.3"], Happened);
    }

    [Theory]
    [InlineData(0, 1, Errno.EINVAL)]
    [InlineData(101, 1, Errno.EINVAL)]
    [InlineData(1, 0, Errno.EINVAL)]
    [InlineData(100, 1, Errno.None)]
    public void A_link_flaps_1_to_100_times(int times, int seconds, Errno expected) =>
        Assert.Equal(expected, Bus.Flap(Virtual, times, TimeSpan.FromSeconds(seconds)).Error.Errno);

    [Fact]
    public void A_link_that_flaps_is_not_made_to_flap_a_second_time_before_it_is_over()
    {
        Bus.Flap(Virtual, 1, TimeSpan.FromSeconds(1));
        Assert.Equal(Errno.ENODEV, Bus.Flap(Virtual, 1, TimeSpan.FromSeconds(1)).Error.Errno);
        Bus.PutBack(Physical);
        Assert.Equal(Errno.EBUSY, Bus.Flap(Physical, 1, TimeSpan.FromSeconds(1)).Error.Errno);
        zoo.Time.Advance(TimeSpan.FromSeconds(1));

        Assert.True(Bus.Flap(Physical, 1, TimeSpan.FromSeconds(1)).IsOk);
        Assert.Equal(Errno.ENODEV, Bus.Flap(Zoo.At("fab0:09:00.0"), 1, TimeSpan.FromSeconds(1)).Error.Errno);
    }

    [Fact]
    public void A_disposed_bus_flaps_no_more()
    {
        Bus.Flap(Virtual, 5, TimeSpan.FromSeconds(1));
        var before = zoo.Events.Count;

        Bus.Dispose();
        zoo.Time.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal(before, zoo.Events.Count);
    }

    // ---- Resets that go wrong --------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_fails_so_many_times_and_works_then()
    {
        var function = zoo["fab0:02:00.0"];
        function.Command(PciCommand.BusMaster);
        Assert.True(Bus.SetResetFault(function.Address, new ResetFault.Fails(2)).IsOk);

        Assert.Equal(Errno.EIO, function.Reset(ResetMethod.FunctionLevel).Error.Errno);
        Assert.Equal(Errno.EIO, function.Reset(ResetMethod.FunctionLevel).Error.Errno);
        Assert.Equal(PciCommand.BusMaster, function.Command());

        Assert.True(function.Reset(ResetMethod.FunctionLevel).IsOk);
    }

    [Fact]
    public void A_function_that_its_reset_leaves_dead_comes_back_by_a_harsher_one()
    {
        var function = zoo["fab0:02:00.0"];
        Bus.SetResetFault(function.Address, new ResetFault.Dies(1));

        Assert.True(function.Reset(ResetMethod.FunctionLevel).IsOk);
        Assert.Equal((uint.MaxValue, Errno.ETIMEDOUT), (function.Config32(0), function.Reset(ResetMethod.FunctionLevel).Error.Errno));
        Assert.True(Bus.HotReset(function.Address).IsOk);

        Assert.NotEqual(uint.MaxValue, function.Config32(0));
    }

    [Fact]
    public void Where_the_slot_reset_fails_too_the_power_does_it_and_where_that_fails_nothing()
    {
        var function = zoo["fab0:02:00.0"];
        Bus.SetResetFault(function.Address, new ResetFault.Fails(Rungs: ResetRungs.Function | ResetRungs.Bus));
        Assert.Equal(Errno.EIO, Bus.HotReset(function.Address).Error.Errno);
        Assert.True(Bus.CyclePower(function.Address).IsOk);

        Bus.SetResetFault(function.Address, new ResetFault.Fails(Rungs: ResetRungs.All));
        Assert.Equal(Errno.EIO, Bus.CyclePower(function.Address).Error.Errno);
    }

    [Theory]
    [InlineData(NotReadyAnswer.AllOnes, 0xffff_ffffu)]
    [InlineData(NotReadyAnswer.RetryStatus, 0xffff_0001u)]
    public void A_function_that_is_not_ready_answers_nothing_for_its_time(NotReadyAnswer answer, uint read)
    {
        var function = zoo["fab0:02:00.0"];
        var sound = function.Config32(0);
        Bus.SetResetFault(function.Address, new ResetFault.NotReady(TimeSpan.FromSeconds(3), answer));

        Assert.True(function.Reset(ResetMethod.FunctionLevel).IsOk);
        function.Command(PciCommand.BusMaster);
        Assert.Equal((read, Errno.EIO), (function.Config32(0), function.Read(0)));
        zoo.Time.Advance(TimeSpan.FromSeconds(3));

        Assert.Equal((sound, PciCommand.None), (function.Config32(0), function.Command()));
    }

    [Fact]
    public void A_function_that_is_away_for_longer_than_a_host_polls_is_ETIMEDOUT_at_once()
    {
        using var slow = Zoo.With(EmulatedModels.NotReady);

        Assert.Equal(Errno.ETIMEDOUT, slow.First.Reset(ResetMethod.FunctionLevel).Error.Errno);
        slow.Time.Advance(TimeSpan.FromSeconds(64));
        Assert.Equal(uint.MaxValue, slow.First.Config32(0));
        slow.Time.Advance(TimeSpan.FromSeconds(1));

        Assert.NotEqual(uint.MaxValue, slow.First.Config32(0));
    }

    [Fact]
    public void A_function_that_is_never_ready_again_is_so_until_its_slot_is_reset()
    {
        using var never = new Zoo(new EmulatedCard(EmulatedModels.NotReady, Fault: new ResetFault.NotReady(Timeout.InfiniteTimeSpan)));
        Assert.Equal(Errno.ETIMEDOUT, never.First.Reset(ResetMethod.FunctionLevel).Error.Errno);
        never.Time.Advance(TimeSpan.FromDays(1));
        Assert.Equal(uint.MaxValue, never.First.Config32(0));

        Assert.True(never.Bus.HotReset(never.First.Address).IsOk);

        Assert.NotEqual(uint.MaxValue, never.First.Config32(0));
    }

    [Fact]
    public async Task A_card_whose_reset_hangs_does_so_from_the_start()
    {
        using var hanging = Zoo.With(EmulatedModels.HungReset);
        var function = hanging.First;
        var hung = Start(() => function.Reset(ResetMethod.FunctionLevel));
        Assert.True(SpinWait.SpinUntil(() => hanging.Bus.HungCalls(function.Address) == 1, Patience));
        Assert.NotEqual(uint.MaxValue, function.Config32(0));

        hanging.Bus.Release(function.Address);

        await hung.WaitAsync(Patience, TestContext.Current.CancellationToken);
    }

    // ---- Whose they are --------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Faults_of_a_function_that_is_not_on_the_bus_are_ENODEV()
    {
        var elsewhere = Zoo.At("0000:3b:00.0");

        Assert.All(
            [
                Bus.InjectAer(elsewhere, AerSeverity.Fatal), Bus.Hang(elsewhere, HangPoint.Config), Bus.Release(elsewhere), Bus.PullOut(elsewhere),
                Bus.PutBack(elsewhere), Bus.Flap(elsewhere, 1, TimeSpan.FromSeconds(1)), Bus.SetResetFault(elsewhere, null), Bus.ResetLink(elsewhere),
                Bus.Remove(elsewhere),
            ],
            refused => Assert.Equal(Errno.ENODEV, refused.Error.Errno));
    }

    public void Dispose() => zoo.Dispose();

    private static Task Start(Action call) =>
        Task.Factory.StartNew(call, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void UntilHung(PciAddress function) =>
        Assert.True(SpinWait.SpinUntil(() => Bus.HungCalls(function) == 1, Patience), "The call does not hang.");

    private static void Call(EmulatedFunction function, HangPoint point)
    {
        switch (point)
        {
            case HangPoint.Config:
                function.Config32(0);
                break;
            case HangPoint.Region:
                function.Read(0);
                break;
            case HangPoint.Reset:
                function.Reset(ResetMethod.FunctionLevel);
                break;
            case HangPoint.Sriov:
                function.SetVirtualFunctions(0);
                break;
        }
    }

    private static AcceleratorStatus StatusOf(AcceleratorVirtualFunction function)
    {
        var status = new byte[4];
        Assert.True(function.ReadRegion(AcceleratorBar.Registers, AcceleratorRegister.Status, status).IsOk);
        return (AcceleratorStatus)BitConverter.ToUInt32(status);
    }
}
