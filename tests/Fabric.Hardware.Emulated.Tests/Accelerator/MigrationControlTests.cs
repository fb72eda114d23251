using CsCheck;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests.Accelerator;

public sealed class MigrationControlTests : IDisposable
{
    private const int Blocks = (int)(Bench.StateBytes / AcceleratorState.BlockBytes);

    private readonly Bench bench = new();

    // ---- Suspend and resume ----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(AcceleratorCommand.SuspendInitiator, AcceleratorCommand.ResumeInitiator, AcceleratorActivity.InitiatorSuspended)]
    [InlineData(AcceleratorCommand.SuspendResponder, AcceleratorCommand.ResumeResponder, AcceleratorActivity.ResponderSuspended)]
    public void A_suspended_engine_writes_nothing_and_goes_on_where_it_stood(
        AcceleratorCommand suspend, AcceleratorCommand resume, AcceleratorActivity activity)
    {
        bench.Start();
        bench.RunTicks(1);

        bench.Execute(suspend);
        bench.RunTicks(10);
        Assert.Equal((activity, 100UL, 100UL), (bench.Activity, bench.Steps, bench.Head));

        bench.Execute(resume);
        bench.RunTicks(1);
        Assert.Equal((AcceleratorActivity.None, 200UL, 200UL), (bench.Activity, bench.Steps, bench.Head));
    }

    [Fact]
    public void Resuming_one_of_two_suspensions_is_not_enough()
    {
        bench.Start();
        bench.Execute(AcceleratorCommand.SuspendInitiator);
        bench.Execute(AcceleratorCommand.SuspendResponder);

        bench.Execute(AcceleratorCommand.ResumeResponder);
        bench.RunTicks(10);

        Assert.Equal(0UL, bench.Steps);
    }

    [Fact]
    public void A_command_that_is_none_changes_nothing()
    {
        bench.Execute((AcceleratorCommand)99);

        Assert.Equal(AcceleratorActivity.None, bench.Activity);
    }

    // ---- The state log ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_state_log_starts_with_every_block_and_nothing_past_the_state()
    {
        bench.Execute(AcceleratorCommand.StartStateLog);

        Assert.Equal(Enumerable.Range(0, Blocks), bench.TakeStateLog());
    }

    [Fact]
    public void Reading_the_state_log_clears_it()
    {
        bench.Execute(AcceleratorCommand.StartStateLog);
        bench.TakeStateLog();

        Assert.Empty(bench.TakeStateLog());
    }

    [Fact]
    public void The_state_log_tells_exactly_the_blocks_that_steps_changed()
    {
        bench.Start(pace: 5_000);
        bench.Execute(AcceleratorCommand.StartStateLog);
        bench.TakeStateLog();

        bench.RunTicks(1);

        Assert.Equal(
            Enumerable.Range(0, 10).Select(step => (int)(AcceleratorState.CellOf((ulong)step, bench.Cells) * AcceleratorState.CellBytes / AcceleratorState.BlockBytes)).Order(),
            bench.TakeStateLog());
    }

    [Fact]
    public void A_state_log_that_is_off_reads_empty()
    {
        bench.Start();
        bench.Execute(AcceleratorCommand.StartStateLog);
        bench.Execute(AcceleratorCommand.StopStateLog);
        bench.RunTicks(1);

        Assert.Empty(bench.TakeStateLog());
    }

    [Theory]
    [InlineData(AcceleratorMigration.StateLog + 4, 8)]
    [InlineData(AcceleratorMigration.StateLog, 4)]
    [InlineData(AcceleratorMigration.DmaLog + 1, 8)]
    public void A_log_answers_to_whole_words_only(int offset, int length)
    {
        bench.Execute(AcceleratorCommand.StartStateLog);

        Assert.Equal(Errno.EIO, bench.Function.ReadRegion(AcceleratorBar.Migration, (ulong)offset, new byte[length]).Error.Errno);
        Assert.Equal(Blocks, bench.TakeStateLog().Count);
    }

    /// <summary>A copy that is brought up to date with the blocks that the log tells is the state itself, whenever it is read.</summary>
    [Fact]
    public void A_copy_kept_by_the_state_log_misses_no_step() => Gen.Select(Gen.Int[0, 6].Array[0, 30], Gen.UInt[1_000, 30_000]).Sample(
        (rounds, pace) =>
        {
            using var source = new Bench();
            source.Start(pace);
            source.Execute(AcceleratorCommand.StartStateLog);
            var copy = new byte[Bench.StateBytes];
            foreach (var ticks in rounds.Append(0))
            {
                source.RunTicks(ticks);
                foreach (var block in source.TakeStateLog())
                    source.ReadState((long)block * AcceleratorState.BlockBytes, AcceleratorState.BlockBytes).CopyTo(copy, block * AcceleratorState.BlockBytes);
            }

            Assert.Equal(source.ReadState(), copy);
        },
        iter: 40);

    // ---- The DMA log -----------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_DMA_log_starts_empty()
    {
        bench.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);

        Assert.Empty(bench.TakeDmaLog());
        Assert.Equal(AcceleratorActivity.DmaLogOn, bench.Activity);
    }

    [Fact]
    public void The_DMA_log_tells_exactly_the_pages_that_were_written()
    {
        bench.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);
        bench.Start(slots: 384);

        bench.RunTicks(2);

        // 200 records from the second page on: 128 there, 72 in the next; and the head.
        Assert.Equal([0, 1, 2], bench.TakeDmaLog());
    }

    [Fact]
    public void Reading_the_DMA_log_clears_it()
    {
        bench.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);
        bench.Start();
        bench.RunTicks(1);
        bench.TakeDmaLog();

        Assert.Empty(bench.TakeDmaLog());
    }

    [Fact]
    public void What_lies_outside_the_watched_range_is_not_logged()
    {
        bench.WatchDma(Bench.HeadIova + (2 * Bench.PageBytes), 2 * Bench.PageBytes);
        bench.Start(slots: 384);

        bench.RunTicks(2);

        Assert.Equal([0], bench.TakeDmaLog());
    }

    [Fact]
    public void A_write_across_two_pages_marks_both()
    {
        bench.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);
        bench.Start(pace: 500, slots: 1, ringIova: Bench.HeadIova + (5 * Bench.PageBytes) - 16);

        bench.RunTicks(1);

        Assert.Equal([0, 4, 5], bench.TakeDmaLog());
    }

    [Fact]
    public void A_write_into_the_watched_range_from_before_it_marks_its_first_page()
    {
        bench.WatchDma(Bench.HeadIova + (5 * Bench.PageBytes), Bench.PageBytes);
        bench.Start(pace: 500, slots: 1, ringIova: Bench.HeadIova + (5 * Bench.PageBytes) - 16);

        bench.RunTicks(1);

        Assert.Equal([0], bench.TakeDmaLog());
    }

    [Fact]
    public void A_range_that_is_changed_while_the_log_runs_does_not_change_the_log()
    {
        bench.WatchDma(Bench.HeadIova, Bench.PageBytes);
        bench.WriteMigration64(AcceleratorMigration.LogIova, 0);
        bench.WriteMigration64(AcceleratorMigration.LogLength, ulong.MaxValue);
        bench.Start();

        bench.RunTicks(1);

        Assert.Equal([0], bench.TakeDmaLog());
    }

    [Fact]
    public void A_page_of_which_only_a_part_is_watched_is_logged()
    {
        bench.WatchDma(Bench.HeadIova, (63 * Bench.PageBytes) + Bench.PageBytes + 8);
        bench.Dma.Map(Bench.HeadIova + (64 * Bench.PageBytes), new HolderMemory(Bench.PageBytes));
        bench.Start(headIova: Bench.HeadIova + (64 * Bench.PageBytes));

        bench.RunTicks(1);

        Assert.Contains(64, bench.TakeDmaLog());
    }

    [Fact]
    public void A_range_that_runs_past_the_end_of_the_space_is_watched_up_to_there()
    {
        bench.WatchDma(Bench.HeadIova, ulong.MaxValue);
        bench.Start();

        bench.RunTicks(1);

        Assert.Equal([0, 1], bench.TakeDmaLog());
    }

    [Fact]
    public void A_DMA_log_that_is_off_reads_empty()
    {
        bench.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);
        bench.Execute(AcceleratorCommand.StopDmaLog);
        bench.Start();

        bench.RunTicks(1);

        Assert.Empty(bench.TakeDmaLog());
        Assert.Equal(AcceleratorActivity.None, bench.Activity);
    }

    /// <summary>The ring may begin at any byte, so that records lie across pages.</summary>
    [Fact]
    public void The_DMA_log_tells_the_pages_of_the_records_of_every_round_and_of_the_head() => Gen.Select(
            Gen.Int[0, 4].Array[0, 60], Gen.Int[0, 4095], Gen.UInt[500, 20_000])
        .Sample(
            (rounds, shift, pace) =>
            {
                using var source = new Bench();
                source.WatchDma(Bench.HeadIova, 16 * Bench.PageBytes);
                source.Start(pace, slots: 1000, ringIova: Bench.RingIova + (ulong)shift);
                foreach (var ticks in rounds)
                {
                    var before = source.Steps;
                    source.RunTicks(ticks);

                    var expected = new SortedSet<int>();
                    for (var step = before; step < source.Steps; step++)
                    {
                        var at = Bench.PageBytes + shift + ((int)(step % 1000) * AcceleratorRecord.Bytes);
                        expected.UnionWith([0, at / Bench.PageBytes, (at + AcceleratorRecord.Bytes - 1) / Bench.PageBytes]);
                    }

                    Assert.Equal(expected, source.TakeDmaLog());
                }
            },
            iter: 50);

    // ---- The context -----------------------------------------------------------------------------------------------------------------

    [Fact]
    public void State_and_context_of_one_function_make_another_go_on_where_it_stood()
    {
        bench.Start();
        bench.RunTicks(3);
        bench.Execute(AcceleratorCommand.SuspendInitiator);
        bench.Execute(AcceleratorCommand.SuspendResponder);
        using var target = new Bench();
        target.Execute(AcceleratorCommand.SuspendInitiator);
        target.Execute(AcceleratorCommand.SuspendResponder);

        target.Function.WriteRegion(AcceleratorBar.State, 0, bench.ReadState());
        target.LoadContext(bench.SaveContext());
        target.SetBusMaster(true);
        target.Execute(AcceleratorCommand.ResumeResponder);
        target.Execute(AcceleratorCommand.ResumeInitiator);
        target.RunTicks(1);

        Assert.Equal(400UL, target.Steps);
        Assert.Equal(target.CountersAfter(400), target.Counters());
        for (ulong step = 300; step < 400; step++)
            Assert.Equal(target.RecordOf(step), target.Record(step % 256));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_context_is_taken_only_by_a_function_that_stands_entirely(bool initiatorSuspended)
    {
        if (initiatorSuspended)
            bench.Execute(AcceleratorCommand.SuspendInitiator);
        var context = new byte[AcceleratorMigration.ContextBytes];
        context[0] = 42;

        bench.LoadContext(context);

        Assert.Equal(0UL, bench.Steps);
    }

    [Fact]
    public void A_part_of_a_context_is_not_taken()
    {
        bench.Execute(AcceleratorCommand.SuspendResponder);

        bench.Function.WriteRegion(AcceleratorBar.Migration, AcceleratorMigration.Context, [42, 0, 0, 0, 0, 0, 0, 0]);

        Assert.Equal(0UL, bench.Steps);
    }

    /// <summary>Whoever has the whole function may write anything anywhere: the engine's thread must live through it.</summary>
    [Fact]
    public void No_access_and_no_context_makes_the_function_throw() => Gen.Select(
            Gen.OneOf(Gen.Const(AcceleratorBar.Registers), Gen.Const(AcceleratorBar.State), Gen.Const(AcceleratorBar.Migration)),
            Gen.OneOf(Gen.Int[0, 0x60], Gen.Int[0, 0x220], Gen.Int[0, AcceleratorMigration.Bytes]),
            Gen.OneOf(Gen.Const(4), Gen.Const(8), Gen.Const(256), Gen.Int[0, 600]),
            Gen.Byte.Array[600],
            Gen.Int[0, 3])
        .Array[1, 60].Sample(
            accesses =>
            {
                using var hostile = new Bench(memoryPages: 2);
                hostile.Start();
                foreach (var (bar, at, wanted, data, kind) in accesses)
                {
                    var offset = (ulong)at % hostile.Function.Bars[bar].Size;
                    var length = (int)Math.Min((ulong)wanted, hostile.Function.Bars[bar].Size - offset);
                    if (kind == 0)
                        hostile.Function.ReadRegion(bar, offset, new byte[length]);
                    else if (kind == 1)
                        hostile.Execute((AcceleratorCommand)(data[0] % 10));
                    else
                        hostile.Function.WriteRegion(bar, offset, data.AsSpan(0, length));
                    hostile.RunTicks(1);
                }
            },
            iter: 200);

    public void Dispose() => bench.Dispose();
}
