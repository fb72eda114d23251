using Akka.Actor;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>The core behind its mailbox: who may ask it, and for how long.</summary>
public sealed class SessionTests : DeviceTest
{
    private readonly FakeFunction function = new();

    private IActorRef Core(long firstSession = 100) =>
        ActorOf(CoreOf(function, firstSession));

    public static TheoryData<string> SessionRequests() => [.. All(default).Keys];

    public static TheoryData<string> MigrationRequests() =>
        ["flags", "set state", "get state", "data size", "start log", "stop log", "report log"];

    [Fact]
    public async Task A_second_open_is_EBUSY_and_names_the_holder()
    {
        var core = Core();
        await OpenAsync(core, CreateTestProbe(), "claim one");

        var refused = await RefusedAsync(core, new OpenDevice("claim two", CreateTestProbe()));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("claim one", refused.Sentence);
    }

    [Fact]
    public async Task Sessions_are_numbered_on_from_where_the_core_was_told_to_begin() =>
        Assert.Equal(new SessionId(101), await OpenAsync(Core(firstSession: 100), CreateTestProbe()));

    [Fact]
    public async Task A_new_session_never_has_the_number_of_an_old_one()
    {
        var core = Core();
        var first = await OpenAsync(core, CreateTestProbe());
        await AskAsync<DeviceDone>(core, new CloseDevice(first));

        Assert.NotEqual(first, await OpenAsync(core, CreateTestProbe()));
    }

    [Fact]
    public async Task An_open_that_the_core_refuses_leaves_no_session()
    {
        function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else is resetting.");
        var core = Core();
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(core, new OpenDevice("one", CreateTestProbe()))).Errno);
        function.OnReset = () => VfioResult.Ok;

        await AskAsync<DeviceOpened>(core, new OpenDevice("two", CreateTestProbe()));
    }

    [Theory]
    [MemberData(nameof(SessionRequests))]
    public async Task A_session_that_is_closed_gets_ENODEV(string request)
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());
        await AskAsync<DeviceDone>(core, new CloseDevice(session));

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(core, All(session)[request])).Errno);
    }

    [Theory]
    [MemberData(nameof(SessionRequests))]
    public async Task A_session_that_is_closed_touches_nothing_of_the_next_one(string request)
    {
        var core = Core();
        var stale = await OpenAsync(core, CreateTestProbe());
        await AskAsync<DeviceDone>(core, new CloseDevice(stale));
        var live = await OpenAsync(core, CreateTestProbe());
        function.Calls.Clear();

        await RefusedAsync(core, All(stale)[request]);

        Assert.Empty(function.Calls);
        await AskAsync<DeviceInfoRead>(core, new GetDeviceInfo(live));
    }

    [Theory]
    [MemberData(nameof(MigrationRequests))]
    public async Task Without_a_driver_migration_and_dirty_logging_are_ENOTTY_IO_81(string request)
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(Errno.ENOTTY, (await RefusedAsync(core, All(session)[request])).Errno);
    }

    [Fact]
    public async Task A_request_that_nobody_knows_is_ENOTTY() =>
        Assert.Equal(Errno.ENOTTY, (await RefusedAsync(Core(), new NobodyKnows())).Errno);

    // ---- The life of a holder --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task When_its_holder_dies_the_session_closes_and_says_why()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var consumer = CreateTestProbe();
        var session = await OpenAsync(core, consumer, "claim one");

        Sys.Stop(consumer);

        Assert.Equal(new SessionClosed(session, "claim one", "its holder died"), await UntilAsync<SessionClosed>(parent, _ => true));
        Assert.Equal("reset", function.Calls[^1]);
        Assert.Null(function.Dma);
    }

    [Fact]
    public async Task When_its_holder_died_another_may_open_it()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var consumer = CreateTestProbe();
        await OpenAsync(core, consumer);
        Sys.Stop(consumer);
        await UntilAsync<SessionClosed>(parent, _ => true);

        await AskAsync<DeviceOpened>(core, new OpenDevice("the next", CreateTestProbe()));
    }

    [Fact]
    public async Task A_holder_that_is_dead_already_keeps_nothing_open()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var consumer = CreateTestProbe();
        Watch(consumer);
        Sys.Stop(consumer);
        await ExpectTerminatedAsync(consumer, cancellationToken: Cancelled);

        await OpenAsync(core, consumer);

        await UntilAsync<SessionClosed>(parent, closed => closed.Why == "its holder died");
    }

    [Fact]
    public async Task The_death_of_an_earlier_holder_is_nothing_to_the_session_of_the_next()
    {
        var core = Core();
        var first = CreateTestProbe();
        await AskAsync<DeviceDone>(core, new CloseDevice(await OpenAsync(core, first)));
        var live = await OpenAsync(core, CreateTestProbe());
        Watch(first);

        Sys.Stop(first);
        await ExpectTerminatedAsync(first, cancellationToken: Cancelled);

        await AskAsync<DeviceInfoRead>(core, new GetDeviceInfo(live));
    }

    [Fact]
    public async Task Closing_tells_the_supervisor_who_held_it_and_why_it_ended()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var session = await OpenAsync(core, CreateTestProbe(), "claim one");

        await AskAsync<DeviceDone>(core, new CloseDevice(session));

        Assert.Equal(new SessionOpened("claim one"), await UntilAsync<SessionOpened>(parent, _ => true));
        Assert.Equal(new SessionClosed(session, "claim one", "closed by its holder"), await NextAsync<SessionClosed>(parent));
    }

    [Fact]
    public async Task A_core_that_is_stopped_closes_its_device()
    {
        var core = Core();
        await OpenAsync(core, CreateTestProbe());
        var closed = new TaskCompletionSource();
        function.OnReset = () =>
        {
            closed.SetResult();
            return VfioResult.Ok;
        };

        Sys.Stop(core);
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);

        Assert.Null(function.Dma);
    }

    [Fact]
    public async Task A_core_that_is_stopped_tells_that_its_session_ended()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var session = await OpenAsync(core, CreateTestProbe(), "claim one");

        Sys.Stop(core);

        Assert.Equal(session, (await UntilAsync<SessionClosed>(parent, _ => true)).Session);
    }

    // ---- The uAPI through the mailbox ------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_region_can_be_written_and_read_back()
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(2, (await AskAsync<RegionWritten>(core, new WriteRegion(session, 0, 0x10, new byte[] { 0xca, 0xfe }))).Length);
        Assert.Equal([0xca, 0xfe], (await AskAsync<RegionRead>(core, new ReadRegion(session, 0, 0x10, 2))).Data.ToArray());
    }

    [Fact]
    public async Task A_read_across_the_end_of_a_region_gives_what_there_is_IO_111()
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(4, (await AskAsync<RegionRead>(core, new ReadRegion(session, 0, 0xffc, 4096))).Data.Length);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(int.MinValue)]
    [InlineData(DeviceLimits.MaxTransfer + 1)]
    [InlineData(int.MaxValue)]
    public async Task A_read_of_no_sensible_length_is_EINVAL(int length)
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(core, new ReadRegion(session, 2, 0, length))).Errno);
    }

    [Fact]
    public async Task The_longest_transfer_is_carried_out()
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(DeviceLimits.MaxTransfer, (await AskAsync<RegionRead>(core, new ReadRegion(session, 2, 0, DeviceLimits.MaxTransfer))).Data.Length);
        Assert.Equal(
            DeviceLimits.MaxTransfer,
            (await AskAsync<RegionWritten>(core, new WriteRegion(session, 2, 0, new byte[DeviceLimits.MaxTransfer]))).Length);
    }

    [Fact]
    public async Task A_write_longer_than_the_longest_transfer_is_EINVAL()
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(core, new WriteRegion(session, 2, 0, new byte[DeviceLimits.MaxTransfer + 1]))).Errno);
    }

    [Fact]
    public async Task A_reset_tells_the_supervisor_whether_it_worked()
    {
        var parent = CreateTestProbe();
        var core = parent.ChildActorOf(CoreOf(function), Cancelled);
        var session = await OpenAsync(core, CreateTestProbe());
        function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else is resetting.");

        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(core, new ResetDevice(session))).Errno);

        Assert.False((await UntilAsync<ResetTried>(parent, _ => true)).Worked);
    }

    [Fact]
    public async Task DMA_reaches_memory_that_was_mapped_by_message_until_it_is_unmapped()
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());

        await AskAsync<DeviceDone>(core, new MapDma(session, 0x1000, new FakeMemory(0x1000)));
        Assert.True(function.Dma!.TryWrite(0x1000, [1]));

        await AskAsync<DeviceDone>(core, new UnmapDma(session, 0x1000));
        Assert.False(function.Dma!.TryWrite(0x1000, [1]));
    }

    // ---- Errors ----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    [InlineData(ChannelState.PermanentFailure)]
    public async Task On_error_detected_ERR_is_signalled_and_the_vote_is_CAN_RECOVER_ER_1(ChannelState state)
    {
        var core = Core();
        var session = await OpenAsync(core, CreateTestProbe());
        var target = new FakeTarget();
        await AskAsync<DeviceDone>(core, new SetTrigger(session, IrqIndex.Err, target));

        Assert.Equal(RecoveryVote.CanRecover, (await AskAsync<RecoveryVoted>(core, new ErrorDetected(state, AnError))).Vote);
        Assert.Equal(1, target.Signals);
    }

    [Fact]
    public async Task The_other_recovery_callbacks_get_no_vote_ER_2()
    {
        var core = Core();

        foreach (var callback in new DeviceRequest[] { new MmioEnabled(), new SlotReset(), new ResumeOperation() })
            Assert.Equal(RecoveryVote.None, (await AskAsync<RecoveryVoted>(core, callback)).Vote);
    }

    private static Dictionary<string, DeviceRequest> All(SessionId session) => new()
    {
        ["close"] = new CloseDevice(session),
        ["info"] = new GetDeviceInfo(session),
        ["region info"] = new GetRegionInfo(session, 0),
        ["irq info"] = new GetIrqInfo(session, 0),
        ["trigger"] = new SetTrigger(session, IrqIndex.Err, new FakeTarget()),
        ["reset"] = new ResetDevice(session),
        ["read"] = new ReadRegion(session, 0, 0, 4),
        ["write"] = new WriteRegion(session, RegionIndex.Config, ConfigOffset.Command, new byte[] { (byte)PciCommand.BusMaster }),
        ["map"] = new MapRegion(session, 0),
        ["map dma"] = new MapDma(session, 0, new FakeMemory(0x1000)),
        ["unmap dma"] = new UnmapDma(session, 0),
        ["flags"] = new GetMigrationFlags(session),
        ["set state"] = new SetMigrationState(session, MigrationState.Stop),
        ["get state"] = new GetMigrationState(session),
        ["data size"] = new GetMigrationDataSize(session),
        ["start log"] = new StartDmaLogging(session, 0, 0x1000),
        ["stop log"] = new StopDmaLogging(session),
        ["report log"] = new ReportDmaLogging(session),
    };

    private sealed record NobodyKnows : DeviceRequest;
}
