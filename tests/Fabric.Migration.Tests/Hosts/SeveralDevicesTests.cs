using Fabric.Devices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A claim of several real emulated devices and one memory, from host to host.</summary>
public sealed class SeveralDevicesTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const int Memory = 1 << 20;
    private const int StateBytes = 1 << 20;
    private const int StepsPerSecond = 100_000;
    private const string First = "fab0:01:00.1";
    private const string Second = "fab0:01:00.2";

    private readonly DeviceMoves ofAlpha = new();
    private readonly DeviceMoves ofBeta = new();
    private readonly TestHost alpha;
    private readonly TestHost beta;

    public SeveralDevicesTests()
    {
        alpha = new TestHost("alpha", functions: 4, StateBytes, ofAlpha.Driver);
        beta = new TestHost("beta", functions: 4, StateBytes, ofBeta.Driver);
    }

    public async ValueTask DisposeAsync()
    {
        await alpha.DisposeAsync();
        await beta.DisposeAsync();
    }

    /// <summary>Each at each step that an end of the migration takes before the commit, and the step's command.</summary>
    public static TheoryData<string, string, MigrationState> Failures { get; } = new(
        from device in (string[])[First, Second]
        from step in ((string, MigrationState)[])[("alpha", PreCopy), ("alpha", PreCopyP2P), ("alpha", StopCopy), ("beta", Resuming), ("beta", Stop)]
        select (device, step.Item1, step.Item2));

    public static TheoryData<string, MigrationState> FailuresOfStart { get; } = new(
        from device in (string[])[First, Second]
        from step in (MigrationState[])[RunningP2P, Running]
        select (device, step));

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public async Task They_move_with_all_of_their_state_and_memory_L2(int devices)
    {
        var (stopped, loaded) = await SwitchAsync(devices);

        Assert.Equal(1 + devices, stopped.Streams.Length);
        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.All(stopped.Streams[1..], static stream => Assert.True(stream.Bytes > StateBytes, $"{stream.Bytes} bytes"));
        Assert.Equal(alpha.Consumer.MemoryCopy, beta.Consumer.MemoryCopy);
        for (var function = 1; function <= devices; function++)
        {
            Assert.NotEqual(new byte[StateBytes], StateOf(alpha, function));
            Assert.Equal(StateOf(alpha, function), StateOf(beta, function));
        }
    }

    [Fact]
    public async Task The_target_runs_with_one_consumer_and_the_source_is_free()
    {
        await SwitchAsync(2);
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, First, 1));
        await alpha.Do<Detached>(new Detach(Claim, 2, First));

        Assert.Equal((1, true), (beta.Consumers.Count, beta.Consumer.Running));
        await alpha.Becomes(First, DeviceState.Closed);
        await alpha.Becomes(Second, DeviceState.Closed);
    }

    [Fact]
    public async Task None_stops_before_all_leave_their_peers_alone_and_none_runs_before_all_accept_them_MG_52_MG_53()
    {
        string[] devices = [.. Addresses(4)];
        await SwitchAsync(4);
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, First, 1));

        Assert.Null(DeviceMoves.Violation(ofAlpha.All, Running, devices));
        Assert.Equal([PreCopy, PreCopyP2P, StopCopy], Steps(ofAlpha));
        Assert.Null(DeviceMoves.Violation(ofBeta.All.SkipWhile(static move => move.Target != RunningP2P), Stop, devices));
        Assert.Equal([Resuming, Stop, RunningP2P, Running], Steps(ofBeta));
    }

    [Fact]
    public void A_stop_beside_a_device_that_runs_at_full_speed_is_seen()
    {
        Assert.NotNull(DeviceMoves.Violation([new(First, PreCopyP2P, true), new(First, StopCopy, true)], PreCopy, First, Second));
    }

    [Fact]
    public void A_start_beside_a_device_that_stands_is_seen()
    {
        Assert.NotNull(DeviceMoves.Violation([new(First, RunningP2P, true), new(First, Running, true)], Stop, First, Second));
    }

    [Theory]
    [MemberData(nameof(Failures))]
    public async Task Whichever_fails_at_whichever_step_all_of_the_source_run_again(string device, string at, MigrationState step)
    {
        (at == "alpha" ? ofAlpha : ofBeta).Fails = (device, step, 1);
        await alpha.Do<Attached>(new Attach(Claim, 1, Addresses(2), Memory, StepsPerSecond));
        beta.Tell(new PrepareTarget(Claim, 2, 1, Addresses(2), Memory, StepsPerSecond));
        if (step == Resuming)
        {
            Assert.StartsWith($"{device} could not enter RESUMING", Assert.IsType<CommandFailed>(await beta.Answer()).Reason, StringComparison.Ordinal);
            await beta.Becomes(First, DeviceState.Closed);
            await beta.Becomes(Second, DeviceState.Closed);
            return;
        }

        var prepared = Assert.IsType<TargetPrepared>(await beta.Answer());
        var start = new StartPreCopy(Claim, 2, First, 1, prepared.Endpoint, prepared.Token, 0);
        if (step == PreCopy)
        {
            alpha.Tell(start);
        }
        else
        {
            await alpha.Do<PreCopyProgress>(start);
            alpha.Tell(new StopAndCopy(Claim, 2, First, 1));
        }

        Assert.Contains("it was told to fail", Assert.IsType<CommandFailed>(await (at == "alpha" ? alpha : beta).Answer()).Reason, StringComparison.Ordinal);
        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, First, 1), ignoringFailures: true);
        await beta.Do<Detached>(new Detach(Claim, 2, First), ignoringFailures: true);

        Assert.True(alpha.Consumer.Running);
        Assert.All(Addresses(2), one => Assert.Equal(Running, ofAlpha.All.Last(move => move.Device == one && move.Done).Target));
        Assert.Null(DeviceMoves.Violation(ofAlpha.All, Running, Addresses(2)));
    }

    [Theory]
    [MemberData(nameof(FailuresOfStart))]
    public async Task A_target_that_cannot_run_all_runs_none(string device, MigrationState step)
    {
        await SwitchAsync(2);
        ofBeta.Fails = (device, step, 1);

        beta.Tell(new RunTarget(Claim, 2, First, 1));

        var failed = await FailureAsync(beta);
        Assert.Contains("it was told to fail", failed.Reason, StringComparison.Ordinal);
        Assert.False(beta.Consumer.Running);
        Assert.All(Addresses(2), one => Assert.Equal(Stop, ofBeta.All.Last(move => move.Device == one && move.Done).Target));
    }

    [Fact]
    public async Task A_source_that_cannot_run_all_again_says_so()
    {
        await SwitchAsync(2);
        ofAlpha.Fails = (Second, Running, 1);

        alpha.Tell(new ResumeSource(Claim, 2, First, 1));

        Assert.StartsWith($"{Second} could not enter RUNNING", (await FailureAsync(alpha)).Reason, StringComparison.Ordinal);
    }

    /// <summary>How the transfer ended may be told twice: the order to stop comes to an end that has everything already.</summary>
    private static async Task<CommandFailed> FailureAsync(TestHost host)
    {
        while (true)
        {
            if (await host.Answer() is var report and not (SourceStopped or TargetLoaded))
                return Assert.IsType<CommandFailed>(report);
        }
    }

    public static TheoryData<PrecopyInfo> NotStarted { get; } = new(new PrecopyInfo(4096, 0), new PrecopyInfo(0, 4096, Reinit: true));

    /// <summary>The claim's order came too early, or the set appeared after it.</summary>
    [Theory]
    [MemberData(nameof(NotStarted))]
    public async Task A_start_up_set_that_is_not_at_the_target_goes_before_the_stop_whatever_was_ordered_MG_26(PrecopyInfo left)
    {
        await PreCopyAsync(2);
        ofAlpha.Says = _ => left;
        alpha.Tell(new StopAndCopy(Claim, 2, First, 1));
        for (var round = 0; round < 4; round++)
            Assert.NotNull(await alpha.Next<PreCopyProgress>());
        var told = await alpha.Next<PreCopyProgress>();

        Assert.Equal(Addresses(2), told.Starting!);
        Assert.DoesNotContain(ofAlpha.All, static move => move.Target is PreCopyP2P or StopCopy);
        ofAlpha.Says = static info => info;
        beta.Tell(new StopAndCopy(Claim, 2, First, 1));
        Assert.Equal((await alpha.Next<SourceStopped>()).Streams, (await beta.Next<TargetLoaded>()).Streams);
    }

    [Fact]
    public async Task What_the_devices_change_each_second_is_measured_in_each_round()
    {
        await PreCopyAsync(2);
        while (await alpha.Next<PreCopyProgress>() is { } told)
        {
            if (told is { RoundEnded: true, Rounds: >= 3 })
            {
                Assert.True(told.DirtyBytesPerSecond > 0, $"{told}");
                return;
            }
        }
    }

    [Fact]
    public async Task All_are_opened_or_none()
    {
        await alpha.Do<Attached>(new Attach("other", 1, [Second], Memory, StepsPerSecond));

        alpha.Tell(new Attach(Claim, 1, Addresses(3), Memory, StepsPerSecond));

        Assert.IsType<CommandFailed>(await alpha.Answer());
        await alpha.Becomes(First, DeviceState.Closed);
        await alpha.Becomes("fab0:01:00.3", DeviceState.Closed);
    }

    [Fact]
    public async Task A_device_that_is_pulled_out_stops_the_work_with_all_and_is_told()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, Addresses(2), Memory, StepsPerSecond));

        await alpha.Command(new InjectRemoval(PciAddress.Parse(Second)));

        var sick = await alpha.Next<DeviceSick>();
        Assert.Equal((Second, false), (sick.Device, sick.Readable));
        Assert.False(alpha.Consumer.Running);
    }

    private async Task<(SourceStopped Stopped, TargetLoaded Loaded)> SwitchAsync(int devices)
    {
        await PreCopyAsync(devices);
        beta.Tell(new StopAndCopy(Claim, 2, First, 1));
        return (await alpha.Do<SourceStopped>(new StopAndCopy(Claim, 2, First, 1)), await beta.Next<TargetLoaded>());
    }

    private async Task PreCopyAsync(int devices)
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, Addresses(devices), Memory, StepsPerSecond));
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, Addresses(devices), Memory, StepsPerSecond));
        alpha.Tell(new StartPreCopy(Claim, 2, First, 1, prepared.Endpoint, prepared.Token, 0));
        while (await alpha.Next<PreCopyProgress>() is not { RoundEnded: true, Rounds: >= 2 })
        {
            // The second round has what the devices wrote meanwhile.
        }
    }

    private static string[] Addresses(int devices) => [.. Enumerable.Range(1, devices).Select(static function => $"fab0:01:00.{function}")];

    /// <summary>Each state that all devices went to before any went on; a device that is ahead breaks it.</summary>
    private static MigrationState[] Steps(DeviceMoves moves)
    {
        var done = moves.All.Where(static move => move.Done).ToArray();
        var devices = done.Select(static move => move.Device).Distinct().Count();
        return [.. done.Chunk(devices).Select(static step => Assert.Single(step.Select(static move => move.Target).Distinct()))];
    }

    private static byte[] StateOf(TestHost host, int function)
    {
        var state = new byte[StateBytes];
        Assert.True(host.Functions.ElementAt(function).ReadRegion(AcceleratorBar.State, 0, state).IsOk);
        return state;
    }
}
