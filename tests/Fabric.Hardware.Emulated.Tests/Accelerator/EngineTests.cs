using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests.Accelerator;

public sealed class EngineTests : IDisposable
{
    private readonly Bench bench = new();

    [Fact]
    public void It_starts_at_power_on_with_its_identity_in_its_registers()
    {
        Assert.Equal(AcceleratorRegister.MagicValue, bench.Register32(AcceleratorRegister.Magic));
        Assert.Equal(AcceleratorRegister.VersionValue, bench.Register32(AcceleratorRegister.Version));
        Assert.Equal((ulong)Bench.StateBytes, bench.Register64(AcceleratorRegister.StateBytes));
        Assert.Equal((0UL, AcceleratorStatus.None, AcceleratorActivity.None), (bench.Steps, bench.Status, bench.Activity));
    }

    [Fact]
    public void Its_state_starts_at_the_initial_values() => Assert.Equal(bench.CountersAfter(0), bench.Counters());

    [Fact]
    public void The_state_BAR_is_rounded_up_to_a_power_of_two_and_reads_0_past_the_state()
    {
        using var odd = new Bench(stateBytes: 3 * AcceleratorState.Granule);

        Assert.Equal(4UL * AcceleratorState.Granule, odd.Function.Bars[AcceleratorBar.State].Size);
        Assert.All(odd.ReadState((3 * AcceleratorState.Granule) + 8, 64), value => Assert.Equal(0, value));
    }

    [Fact]
    public void A_read_across_the_end_of_the_state_ends_in_zeros()
    {
        using var odd = new Bench(stateBytes: 3 * AcceleratorState.Granule);
        var last = odd.ReadState((3 * AcceleratorState.Granule) - 8, 16);

        Assert.NotEqual(0UL, BitConverter.ToUInt64(last));
        Assert.Equal(0UL, BitConverter.ToUInt64(last, 8));
    }

    [Theory]
    [InlineData(0L)]
    [InlineData(AcceleratorState.Granule - 8)]
    [InlineData(-AcceleratorState.Granule)]
    [InlineData((1L << 35) + AcceleratorState.Granule)]
    public void A_state_of_no_whole_granules_or_more_than_its_log_covers_is_refused(long stateBytes) => Assert.Throws<ArgumentOutOfRangeException>(
        () => new AcceleratorVirtualFunction(default, stateBytes, bench.Time).Dispose());

    [Fact]
    public void Its_config_space_shows_no_ids_as_that_of_any_VF_and_it_has_them_all_the_same()
    {
        var ids = new byte[4];

        bench.Function.ReadConfig(ConfigOffset.VendorId, ids);

        Assert.Equal(uint.MaxValue, BitConverter.ToUInt32(ids));
        Assert.Equal((AcceleratorIds.Vendor, AcceleratorIds.VirtualFunction), (bench.Function.Ids.Vendor, bench.Function.Ids.Device));
    }

    // ---- Steps -----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(1000u, 1002UL)]
    [InlineData(333u, 333UL)]
    [InlineData(1u, 1UL)]
    [InlineData(0u, 0UL)]
    public void A_second_and_2_milliseconds_bring_as_many_steps_as_the_pace_says(uint pace, ulong steps)
    {
        bench.Start(pace);

        bench.RunTicks(501);

        Assert.Equal(steps, bench.Steps);
    }

    [Fact]
    public void After_any_number_of_steps_every_counter_is_what_the_model_says()
    {
        bench.Start(pace: 1_000_000);

        bench.RunTicks(40);

        Assert.True(bench.Steps > 2 * (ulong)bench.Cells);
        Assert.Equal(bench.CountersAfter(bench.Steps), bench.Counters());
    }

    [Fact]
    public void The_head_in_memory_is_the_number_of_steps()
    {
        bench.Start();

        bench.RunTicks(3);

        Assert.Equal((300UL, 300UL), (bench.Head, bench.Steps));
    }

    [Fact]
    public void The_ring_holds_the_record_of_every_one_of_the_last_steps()
    {
        bench.Start(slots: 64);

        bench.RunTicks(3);

        for (var step = bench.Steps - 64; step < bench.Steps; step++)
            Assert.Equal(bench.RecordOf(step), bench.Record(step % 64));
    }

    [Fact]
    public void Slots_that_no_step_has_reached_are_not_written()
    {
        bench.Start(slots: 128);

        bench.RunTicks(1);

        Assert.Equal(default, bench.Record(100));
    }

    [Fact]
    public void A_pace_beyond_the_fastest_runs_at_the_fastest()
    {
        bench.Start(pace: uint.MaxValue);

        bench.RunTicks(1);

        Assert.Equal(AcceleratorRegister.MaxPace / 500, bench.Steps);
    }

    [Fact]
    public void An_engine_that_was_kept_from_running_makes_up_for_20_milliseconds_at_most()
    {
        bench.Start(pace: 1000);

        bench.Time.Advance(TimeSpan.FromHours(1));

        Assert.Equal(20UL, bench.Steps);
    }

    [Fact]
    public void A_stopped_engine_owes_nothing_for_the_time_it_stood()
    {
        bench.Start(pace: 1000);
        bench.Write32(AcceleratorRegister.Control, 0);
        bench.Time.Advance(TimeSpan.FromMilliseconds(18));

        bench.Write32(AcceleratorRegister.Control, AcceleratorRegister.ControlRun);
        bench.RunTicks(1);

        Assert.Equal(2UL, bench.Steps);
    }

    // ---- What stops it ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Without_bus_mastering_nothing_is_written_and_nothing_counted()
    {
        bench.Start();
        bench.SetBusMaster(false);

        bench.RunTicks(10);

        Assert.Equal(0UL, bench.Steps);
        Assert.All(bench.Memory.Bytes, value => Assert.Equal(0, value));
    }

    [Fact]
    public void Taking_bus_mastering_away_stops_it_and_giving_it_back_lets_it_go_on()
    {
        bench.Start();
        bench.RunTicks(1);
        bench.SetBusMaster(false);
        bench.RunTicks(10);
        Assert.Equal(100UL, bench.Steps);

        bench.SetBusMaster(true);
        bench.RunTicks(1);

        Assert.Equal(200UL, bench.Steps);
    }

    [Fact]
    public void Without_the_run_bit_it_stands()
    {
        bench.Start();
        bench.Write32(AcceleratorRegister.Control, 0);

        bench.RunTicks(10);

        Assert.Equal(0UL, bench.Steps);
    }

    [Fact]
    public void A_ring_that_is_not_mapped_is_a_DMA_fault_and_no_step()
    {
        bench.Start(ringIova: 0x9000_0000);

        bench.RunTicks(10);

        Assert.Equal((AcceleratorStatus.DmaFault, 0UL), (bench.Status, bench.Steps));
    }

    [Fact]
    public void A_head_that_is_not_mapped_is_a_DMA_fault()
    {
        bench.Start(headIova: 0x9000_0000);

        bench.RunTicks(10);

        Assert.Equal((AcceleratorStatus.DmaFault, 100UL), (bench.Status, bench.Steps));
    }

    [Fact]
    public void Without_an_address_space_every_write_is_a_DMA_fault()
    {
        bench.Start();
        bench.Function.ConnectDma(null);

        bench.RunTicks(1);

        Assert.Equal((AcceleratorStatus.DmaFault, 0UL), (bench.Status, bench.Steps));
    }

    [Fact]
    public void A_fault_in_the_middle_counts_the_steps_before_it_and_no_more()
    {
        // The ring's last slots lie past the end of the memory.
        bench.Start(slots: 8, ringIova: Bench.HeadIova + (16 * Bench.PageBytes) - (5 * AcceleratorRecord.Bytes));

        bench.RunTicks(1);

        Assert.Equal((AcceleratorStatus.DmaFault, 5UL, 5UL), (bench.Status, bench.Steps, bench.Head));
        Assert.Equal(bench.CountersAfter(5), bench.Counters());
    }

    [Fact]
    public void After_a_fault_it_stands_until_the_status_is_cleared_though_the_memory_is_there()
    {
        bench.Start(ringIova: 0x9000_0000);
        bench.RunTicks(1);
        bench.Write64(AcceleratorRegister.RingIova, Bench.RingIova);
        bench.RunTicks(5);
        Assert.Equal(0UL, bench.Steps);

        bench.Write32(AcceleratorRegister.Status, (uint)AcceleratorStatus.DmaFault);
        bench.RunTicks(1);

        Assert.Equal((AcceleratorStatus.None, 100UL), (bench.Status, bench.Steps));
    }

    [Fact]
    public void Writing_a_zero_to_the_status_clears_nothing()
    {
        bench.Start(ringIova: 0x9000_0000);
        bench.RunTicks(1);

        bench.Write32(AcceleratorRegister.Status, 0);

        Assert.Equal(AcceleratorStatus.DmaFault, bench.Status);
    }

    // ---- Registers -------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(AcceleratorRegister.Magic)]
    [InlineData(AcceleratorRegister.StateBytes)]
    [InlineData(AcceleratorRegister.Steps)]
    [InlineData(AcceleratorRegister.StateDigest)]
    public void A_read_only_register_keeps_its_value(int register)
    {
        var before = bench.Register64(register);

        bench.Write64(register, ulong.MaxValue);

        Assert.Equal(before, bench.Register64(register));
    }

    [Fact]
    public void A_write_of_another_width_than_the_register_is_ignored()
    {
        bench.Write64(AcceleratorRegister.RingIova, 0x1234);

        bench.Write32(AcceleratorRegister.RingIova, 0xffff);

        Assert.Equal(0x1234UL, bench.Register64(AcceleratorRegister.RingIova));
    }

    [Fact]
    public void The_rest_of_the_register_BAR_reads_0() => Assert.Equal(0UL, bench.Register64(AcceleratorRegister.Bytes - 8));

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(5)]
    public void A_BAR_that_is_not_there_does_not_answer(int bar)
    {
        Assert.Equal(Errno.EIO, bench.Function.ReadRegion(bar, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, bench.Function.WriteRegion(bar, 0, new byte[4]).Error.Errno);
    }

    [Fact]
    public void The_digest_is_the_sum_over_all_counters()
    {
        bench.Start();
        bench.RunTicks(7);

        Assert.Equal(DigestOf(bench.CountersAfter(700)), bench.Register64(AcceleratorRegister.StateDigest));
    }

    [Fact]
    public void The_digest_of_an_untouched_state_is_that_of_the_initial_values()
    {
        using var large = new Bench(stateBytes: 16 * AcceleratorState.Granule);

        Assert.Equal(DigestOf(large.CountersAfter(0)), large.Register64(AcceleratorRegister.StateDigest));
    }

    // ---- Reset -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_brings_registers_and_state_back_to_power_on()
    {
        var powerOn = bench.SaveContext();
        bench.Start();
        bench.RunTicks(5);

        Assert.True(bench.Function.Reset(ResetMethod.FunctionLevel).IsOk);

        Assert.Equal(powerOn, bench.SaveContext());
        Assert.Equal(bench.CountersAfter(0), bench.Counters());
    }

    [Fact]
    public void A_reset_takes_bus_mastering_away_and_stops_the_engine()
    {
        bench.Start();
        bench.RunTicks(1);
        var command = new byte[2];

        bench.Function.Reset(ResetMethod.FunctionLevel);
        bench.RunTicks(10);
        bench.Function.ReadConfig(ConfigOffset.Command, command);

        Assert.Equal((0UL, 100UL), (bench.Steps, bench.Head));
        Assert.Equal([0, 0], command);
    }

    [Fact]
    public void A_reset_ends_suspension_and_logs()
    {
        bench.WatchDma(Bench.HeadIova, Bench.PageBytes);
        bench.Execute(AcceleratorCommand.StartStateLog);
        bench.Execute(AcceleratorCommand.SuspendInitiator);
        bench.Execute(AcceleratorCommand.SuspendResponder);

        bench.Function.Reset(ResetMethod.FunctionLevel);

        Assert.Equal(AcceleratorActivity.None, bench.Activity);
        Assert.Empty(bench.TakeStateLog());
    }

    public void Dispose() => bench.Dispose();

    private static ulong DigestOf(ulong[] counters) =>
        counters.Select((value, cell) => AcceleratorState.Digest(cell, value)).Aggregate(0UL, (sum, digest) => sum + digest);
}
