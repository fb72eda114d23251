using Fabric.Devices;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>Both ends of a migration over the real data plane, told what to do as a claim would.</summary>
public sealed class MigrationBetweenHostsTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const int Memory = 1 << 20;

    private readonly TestHost alpha = new("alpha");
    private readonly TestHost beta = new("beta");

    public async ValueTask DisposeAsync()
    {
        await alpha.DisposeAsync();
        await beta.DisposeAsync();
    }

    [Fact]
    public async Task Both_ends_count_the_same_bytes_to_the_same_checksum_L2()
    {
        var (stopped, loaded) = await Switch();

        Assert.Equal(stopped.Streams, loaded.Streams);
    }

    [Fact]
    public async Task More_than_memory_and_device_state_is_sent()
    {
        var (stopped, _) = await Switch();

        var sent = stopped.Streams.Sum(static stream => stream.Bytes);
        Assert.True(sent > Memory + (1 << 20), $"{sent} bytes");
    }

    [Fact]
    public async Task The_target_has_the_memory_and_the_own_state_of_the_source_L2()
    {
        await Switch();

        Assert.Equal(alpha.Consumer.MemoryCopy, beta.Consumer.MemoryCopy);
        Assert.Equal<byte[]>([1, 2, 3], beta.Consumer.Own);
    }

    [Fact]
    public async Task Neither_end_runs_between_the_stop_and_the_commit_L1()
    {
        await Switch();

        Assert.Equal((false, false), (alpha.Consumer.Running, beta.Consumer.Running));
    }

    [Fact]
    public async Task A_target_that_is_told_to_runs()
    {
        await Switch();

        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));

        Assert.Equal((false, true, 0), (alpha.Consumer.Running, beta.Consumer.Running, beta.Consumer.Starts));
    }

    [Fact]
    public async Task The_source_is_free_after_its_release()
    {
        await Switch();
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));

        await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        await alpha.Becomes(TestHost.Device, DeviceState.Closed);
        Assert.Equal(DeviceState.Open, await beta.StateOf(TestHost.Device));
    }

    [Fact]
    public async Task A_claim_can_go_there_and_back()
    {
        await Switch();
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));
        await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        var (stopped, loaded) = await Switch(beta, alpha, generation: 3, migration: 2);
        await alpha.Do<TargetRunning>(new RunTarget(Claim, 3, TestHost.Device, 2));

        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.Equal((true, false), (alpha.Consumer.Running, beta.Consumer.Running));
    }

    [Fact]
    public async Task StopAndCopy_sent_again_is_answered_as_before()
    {
        var (stopped, loaded) = await Switch();

        Assert.Equal(
            (stopped, loaded),
            (await alpha.Do<SourceStopped>(new StopAndCopy(Claim, 2, TestHost.Device, 1)), await beta.Do<TargetLoaded>(new StopAndCopy(Claim, 2, TestHost.Device, 1))));
    }

    [Fact]
    public async Task RunTarget_sent_again_is_answered_as_before()
    {
        await Switch();
        var running = await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));

        beta.Tell(new RunTarget(Claim, 2, TestHost.Device, 1));

        Assert.Equal(running, await beta.Answer());
    }

    [Fact]
    public async Task RunTarget_sent_twice_at_once_is_answered_twice()
    {
        await Switch();
        beta.Tell(new RunTarget(Claim, 2, TestHost.Device, 1));
        beta.Tell(new RunTarget(Claim, 2, TestHost.Device, 1));

        // What the switch reported may come before: a target that has loaded says so to each who asks.
        Assert.Equal((2L, 2L), ((await beta.Next<TargetRunning>()).Generation, (await beta.Next<TargetRunning>()).Generation));
    }

    [Fact]
    public async Task StartPreCopy_sent_again_does_not_start_again()
    {
        var start = await StartPreCopy();
        alpha.Tell(start);
        alpha.Tell(start);
        await alpha.Next<PreCopyProgress>();

        var stopped = await alpha.Do<SourceStopped>(new StopAndCopy(Claim, 2, TestHost.Device, 1));

        Assert.Equal(stopped.Streams, (await beta.Next<TargetLoaded>()).Streams);
    }

    [Fact]
    public async Task A_source_that_is_resumed_in_the_pre_copy_runs_on()
    {
        await StartPreCopy();

        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.Equal((true, 1), (alpha.Consumer.Running, alpha.Consumer.Starts));
    }

    [Fact]
    public async Task A_source_that_is_resumed_after_the_stop_runs_again()
    {
        await Switch();

        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.Equal((true, 1), (alpha.Consumer.Running, alpha.Consumer.Starts));
    }

    [Fact]
    public async Task ResumeSource_sent_again_is_answered_again()
    {
        await StartPreCopy();
        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        alpha.Tell(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.Equal(new SourceRunning(Claim, "alpha", 2, 1), await alpha.Answer());
    }

    [Fact]
    public async Task A_source_that_never_heard_of_the_migration_runs_and_will_not_begin_it()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));
        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        alpha.Tell(new StartPreCopy(Claim, 2, TestHost.Device, 1, "127.0.0.1:1", new byte[32], 0));

        Assert.Equal(nameof(StartPreCopy), Assert.IsType<CommandFailed>(await alpha.Answer()).Command);
    }

    [Fact]
    public async Task A_resumed_source_can_migrate_anew()
    {
        await Switch();
        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));
        await beta.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        var (stopped, loaded) = await Switch(alpha, beta, generation: 3, migration: 2);

        Assert.Equal(stopped.Streams, loaded.Streams);
    }

    [Fact]
    public async Task A_source_whose_target_is_gone_says_so()
    {
        await StartPreCopy();
        await beta.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        var failed = Assert.IsType<CommandFailed>(await alpha.Answer());

        Assert.Equal((nameof(StartPreCopy), false), (failed.Command, failed.Gone));
    }

    [Fact]
    public async Task A_source_whose_target_is_gone_is_resumed()
    {
        await StartPreCopy();
        await beta.Do<Detached>(new Detach(Claim, 2, TestHost.Device));
        await alpha.Answer();

        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.True(alpha.Consumer.Running);
    }

    [Fact]
    public async Task A_source_that_never_reached_its_target_is_resumed()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [TestHost.Device], Memory, 1000));
        await beta.KillDataPlane();
        alpha.Tell(new StartPreCopy(Claim, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, 0));
        Assert.IsType<CommandFailed>(await alpha.Answer());

        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.True(alpha.Consumer.Running);
    }

    [Fact]
    public async Task A_failed_pre_copy_is_told_again_when_it_is_sent_again()
    {
        var start = await StartPreCopy();
        await beta.Do<Detached>(new Detach(Claim, 2, TestHost.Device));
        var failed = await alpha.Answer();

        alpha.Tell(start);

        Assert.Equal(failed, await alpha.Answer());
    }

    [Fact]
    public async Task A_target_that_refuses_the_state_fails_both_ends()
    {
        beta.ConsumersRefuseState = true;
        await StartPreCopy();
        var (toAlpha, toBeta) = (new StopAndCopy(Claim, 2, TestHost.Device, 1), new StopAndCopy(Claim, 2, TestHost.Device, 1));
        alpha.Tell(toAlpha);
        beta.Tell(toBeta);

        var (source, target) = (Assert.IsType<CommandFailed>(await alpha.Answer()), Assert.IsType<CommandFailed>(await beta.Answer()));

        Assert.Contains("refused its state", source.Reason, StringComparison.Ordinal);
        Assert.Contains("refused its state", target.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_target_does_not_run_before_it_is_loaded_L1()
    {
        await StartPreCopy();

        beta.Tell(new RunTarget(Claim, 2, TestHost.Device, 1));

        Assert.Equal(nameof(RunTarget), Assert.IsType<CommandFailed>(await beta.Answer()).Command);
    }

    [Fact]
    public async Task A_drain_is_measured_from_the_first_order_to_stop()
    {
        await StartPreCopy();
        for (var i = 0; i < 20; i++)
            alpha.Tell(new StopAndCopy(Claim, 2, TestHost.Device, 1));

        Assert.True((await alpha.Next<SourceStopped>()).DrainMs >= 0);
    }

    [Fact]
    public async Task A_round_under_a_limit_tells_its_rate_before_it_is_over()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [TestHost.Device], Memory, 1000));

        var told = await alpha.Do<PreCopyProgress>(new StartPreCopy(Claim, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, BandwidthLimit: 1 << 20));

        Assert.False(told.RoundEnded);
        Assert.InRange(told.BytesPerSecond, 1, 16 << 20);
    }

    [Fact]
    public async Task A_source_measures_its_gaps_anew_once_a_migration()
    {
        var start = await StartPreCopy();
        alpha.Tell(start);
        await Stop(alpha, beta, generation: 2, migration: 1);

        Assert.Equal((1, 0), (alpha.Consumer.GapsForgotten, beta.Consumer.GapsForgotten));
    }

    /// <summary>Both ends are prepared, and the first round is over.</summary>
    private async Task<StartPreCopy> StartPreCopy()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));
        alpha.Consumer.Own = [1, 2, 3];
        return await StartPreCopy(alpha, beta, generation: 2, migration: 1);
    }

    private static async Task<StartPreCopy> StartPreCopy(TestHost source, TestHost target, long generation, int migration)
    {
        var prepared = await target.Do<TargetPrepared>(new PrepareTarget(Claim, generation, migration, [TestHost.Device], Memory, 1000));
        var start = new StartPreCopy(Claim, generation, TestHost.Device, migration, prepared.Endpoint, prepared.Token, 0);
        await source.Do<PreCopyProgress>(start);
        return start;
    }

    private async Task<(SourceStopped Stopped, TargetLoaded Loaded)> Switch()
    {
        await StartPreCopy();
        return await Stop(alpha, beta, generation: 2, migration: 1);
    }

    private static async Task<(SourceStopped Stopped, TargetLoaded Loaded)> Switch(TestHost source, TestHost target, long generation, int migration)
    {
        await StartPreCopy(source, target, generation, migration);
        return await Stop(source, target, generation, migration);
    }

    private static async Task<(SourceStopped Stopped, TargetLoaded Loaded)> Stop(TestHost source, TestHost target, long generation, int migration)
    {
        target.Tell(new StopAndCopy(Claim, generation, TestHost.Device, migration));
        var stopped = await source.Do<SourceStopped>(new StopAndCopy(Claim, generation, TestHost.Device, migration));
        return (stopped, await target.Next<TargetLoaded>());
    }
}
