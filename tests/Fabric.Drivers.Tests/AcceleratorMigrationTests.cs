using System.Buffers.Binary;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests;

public sealed class AcceleratorMigrationTests() : TestKit("akka.log-dead-letters = off")
{
    private const int HeadBytes = 24;

    [Fact]
    public async Task State_arrives_byte_for_byte_and_the_device_goes_on_where_it_stood()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2);
        await source.RunAsync();
        source.Advance(500);

        await MoveAsync(source, target, running: () => source.Advance(100));
        var steps = await source.ReadAsync(AcceleratorRegister.Steps);
        Assert.Equal(source.State(), target.State());
        Assert.Equal(steps, await target.ReadAsync(AcceleratorRegister.Steps));

        source.Memory.Bytes.CopyTo(target.Memory.Bytes.AsSpan());
        await target.EnableBusMasterAsync();
        await target.EnterAsync(MigrationState.Running);
        target.Advance(50);
        Assert.Equal(steps + 50, await target.ReadAsync(AcceleratorRegister.Steps));
        var cell = AcceleratorState.CellOf(steps, Lab.StateBytes / AcceleratorState.CellBytes);
        Assert.Equal(
            AcceleratorState.ValueAfter(steps + 50, cell, Lab.StateBytes / AcceleratorState.CellBytes),
            BinaryPrimitives.ReadUInt64LittleEndian(target.State().AsSpan((int)cell * 8)));
    }

    [Fact]
    public async Task A_stopped_source_makes_no_step_and_a_resumed_one_goes_on()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        await source.RunAsync();
        source.Advance(100);
        await source.EnterAsync(MigrationState.StopCopy);
        source.Advance(100);
        Assert.Equal(100UL, await source.ReadAsync(AcceleratorRegister.Steps));

        await source.EnterAsync(MigrationState.Running);
        source.Advance(100);
        Assert.Equal(200UL, await source.ReadAsync(AcceleratorRegister.Steps));
    }

    /// <summary>MG-22, MG-25.</summary>
    [Fact]
    public async Task In_pre_copy_a_stream_runs_dry_and_has_more_when_the_device_has_changed()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        await source.RunAsync();
        var stream = await source.EnterAsync(MigrationState.PreCopy);
        Assert.Equal((ulong)Lab.StateBytes, stream.GetPrecopyInfo().Value.InitialBytes);
        Assert.True(Lab.ReadAll(stream).Length > Lab.StateBytes);
        Assert.Equal(Errno.ENOMSG, stream.Read(new byte[10]).Error.Errno);

        source.Advance(4);
        Assert.Equal(4UL * AcceleratorState.BlockBytes, stream.GetPrecopyInfo().Value.DirtyBytes);
        Assert.True(stream.Read(new byte[10]).IsOk);
    }

    /// <summary>MG-23: RESUMING to STOP is the only proof.</summary>
    [Fact]
    public async Task A_stream_that_was_cut_short_is_refused_at_the_end_and_the_device_is_usable_after_a_reset()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2);
        var bytes = Lab.ReadAll(await source.EnterAsync(MigrationState.StopCopy));
        var stream = await target.EnterAsync(MigrationState.Resuming);
        Assert.True(stream.Write(bytes.AsSpan(0, bytes.Length - 1)).IsOk);
        Assert.Equal(Errno.EINVAL, (await target.Client.SetMigrationStateAsync(MigrationState.Stop)).Error.Errno);

        Assert.True((await target.Client.ResetAsync()).IsOk);
        Assert.Equal(MigrationState.Running, (await target.Client.GetMigrationStateAsync()).Value);
    }

    public static TheoryData<string, int, byte> Damage => new()
    {
        { "another magic", HeadBytes, 0xff },
        { "another version", HeadBytes + 8, 9 },
        { "another size of block", HeadBytes + 13, 0x20 },
        { "another size of state", HeadBytes + 16, 9 },
        { "a record of no known kind first", 0, 7 },
        { "a first record of another length", 4, 99 },
        { "a second record of no known kind", HeadBytes + 24, 9 },
        { "blocks past the end of the state", HeadBytes + 24 + 14, 9 },
        { "blocks longer than a record may be", HeadBytes + 24 + 7, 0x40 },
    };

    [Theory]
    [MemberData(nameof(Damage))]
    public async Task A_stream_with(string damage, int at, byte value)
    {
        Assert.NotEmpty(damage);
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2);
        var bytes = Lab.ReadAll(await source.EnterAsync(MigrationState.StopCopy));
        Assert.NotEqual(value, bytes[at]);
        bytes[at] = value;
        var stream = await target.EnterAsync(MigrationState.Resuming);
        Assert.Equal(Errno.EINVAL, stream.Write(bytes).Error.Errno);
        Assert.False((await target.Client.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
    }

    [Fact]
    public async Task A_stream_may_come_in_any_chunks()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2);
        var bytes = Lab.ReadAll(await source.EnterAsync(MigrationState.StopCopy)).AsMemory();
        var stream = await target.EnterAsync(MigrationState.Resuming);
        for (var (at, size) = (0, 1); at < bytes.Length; at += size, size = (size * 7 % 5003) + 1)
            Assert.True(stream.Write(bytes.Span.Slice(at, Math.Min(size, bytes.Length - at))).IsOk);
        Assert.True((await target.Client.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
        Assert.Equal(source.State(), target.State());
    }

    /// <summary>MG-21, MG-34.</summary>
    [Fact]
    public async Task A_reset_in_mid_migration_leaves_running_and_a_dead_stream()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await source.EnterAsync(MigrationState.PreCopy);
        Assert.True((await source.Client.ResetAsync()).IsOk);
        Assert.Equal(MigrationState.Running, (await source.Client.GetMigrationStateAsync()).Value);
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[10]).Error.Errno);
    }

    [Fact]
    public async Task A_stream_dies_with_its_session()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await source.EnterAsync(MigrationState.PreCopy);
        Assert.True((await source.Client.CloseAsync()).IsOk);
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[10]).Error.Errno);
    }

    /// <summary>MG-10, MG-11: refused, and nothing moves.</summary>
    [Fact]
    public async Task An_illegal_transition_is_refused_and_leaves_the_state()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        await source.EnterAsync(MigrationState.StopCopy);
        Assert.Equal(Errno.EINVAL, (await source.Client.SetMigrationStateAsync(MigrationState.PreCopy)).Error.Errno);
        Assert.Equal(MigrationState.StopCopy, (await source.Client.GetMigrationStateAsync()).Value);
    }

    [Fact]
    public async Task Every_legal_transition_ends_where_it_was_asked_to()
    {
        const MigrationFlags flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        foreach (var from in Enum.GetValues<MigrationState>().Where(state => state != MigrationState.Error))
        {
            foreach (var to in Enum.GetValues<MigrationState>())
            {
                Assert.True((await lab.Client.ResetAsync()).IsOk);
                Assert.True((await lab.Client.SetMigrationStateAsync(from)).IsOk);
                var path = MigrationArcs.Path(from, to, flags);
                var set = await lab.Client.SetMigrationStateAsync(to);
                // What was never loaded cannot leave RESUMING.
                var expected = path.IsOk && (from != MigrationState.Resuming || to == MigrationState.Resuming);
                Assert.True(expected == set.IsOk, $"{from} to {to}: {set.Error}");
            }
        }
    }

    /// <summary>MG-40 to MG-42.</summary>
    [Fact]
    public async Task The_dma_log_has_the_pages_that_were_written_and_forgets_them()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        await lab.RunAsync();
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReportDmaLoggingAsync()).Error.Errno);
        Assert.True((await lab.Client.StartDmaLoggingAsync(Lab.Iova, Lab.MemoryBytes)).IsOk);
        Assert.Equal(Errno.EINVAL, (await lab.Client.StartDmaLoggingAsync(Lab.Iova, Lab.MemoryBytes)).Error.Errno);
        lab.Advance(10);
        Assert.Equal([(Lab.Iova, 8192UL)], (await lab.Client.ReportDmaLoggingAsync()).Value.Runs);
        Assert.Equal(0, (await lab.Client.ReportDmaLoggingAsync()).Value.DirtyPages);
        Assert.True((await lab.Client.StopDmaLoggingAsync()).IsOk);
        Assert.True((await lab.Client.StopDmaLoggingAsync()).IsOk);
    }

    [Theory]
    [InlineData(AcceleratorBar.State)]
    [InlineData(AcceleratorBar.Migration)]
    public async Task The_hosts_own_bars_are_hidden_from_the_holder(int bar)
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReadAsync(bar, 0, 8)).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.WriteAsync(bar, 0, new byte[8])).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.MapAsync(bar)).Error.Errno);
    }

    [Fact]
    public async Task Mmio_enabled_clears_the_engines_error_and_it_goes_on()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        await lab.RunAsync();
        lab.Advance(10);
        lab.Function.Fail();
        lab.Advance(10);
        Assert.Equal(10UL, await lab.ReadAsync(AcceleratorRegister.Steps));

        lab.Front.Tell(new MmioEnabled(), TestActor);
        await ExpectMsgAsync<RecoveryVoted>(voted => Assert.Equal(Pci.Recovery.RecoveryVote.Recovered, voted.Vote), cancellationToken: TestContext.Current.CancellationToken);
        lab.Advance(10);
        Assert.Equal(20UL, await lab.ReadAsync(AcceleratorRegister.Steps));
    }

    /// <summary>What a saga does, with a device that works between any two reads: nothing may be missed.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public async Task Whenever_the_device_works_between_reads_nothing_is_missed(int seed)
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2);
        await source.RunAsync();
        var random = new Random(seed);
        await MoveAsync(source, target, running: () => source.Advance(random.Next(0, 40)), chunk: () => random.Next(1, 20_000));
        Assert.Equal(source.State(), target.State());
    }

    private static async Task MoveAsync(Lab source, Lab target, Action running, Func<int>? chunk = null)
    {
        chunk ??= () => 8192;
        var from = await source.EnterAsync(MigrationState.PreCopy);
        var to = await target.EnterAsync(MigrationState.Resuming);
        var buffer = new byte[20_000];
        for (var reads = 0; reads < 400; reads++)
        {
            running();
            var read = from.Read(buffer.AsSpan(0, chunk()));
            if (read.IsOk)
                Assert.True(to.Write(buffer.AsSpan(0, read.Value)).IsOk);
        }

        await source.EnterAsync(MigrationState.PreCopyP2P);
        await source.EnterAsync(MigrationState.StopCopy);
        Assert.True(to.Write(Lab.ReadAll(from)).IsOk);
        await target.EnterAsync(MigrationState.Stop);
    }
}
