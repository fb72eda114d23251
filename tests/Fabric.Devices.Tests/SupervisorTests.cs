using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Devices.History;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;

namespace Fabric.Devices.Tests;

public sealed class SupervisorTests : DeviceTest
{
    /// <summary>As many failures of driver and core as a device survives within an hour.</summary>
    private const int Budget = 5;

    private static readonly SessionId Nobodys = new(1);

    private readonly FakeFunction function = new();
    private readonly List<DeviceHistoryEntry> notes = [];
    private readonly TestProbe host;
    private readonly TestProbe consumer;

    public SupervisorTests() => (host, consumer) = (CreateTestProbe(), CreateTestProbe());

    // ---- What it tells of its device -------------------------------------------------------------------------------------------------

    [Fact]
    public async Task It_tells_of_its_device_when_it_has_probed_it()
    {
        Supervise();

        await StatusAsync(status => status is { State: DeviceState.Closed, Health: DeviceHealth.Healthy });
        Assert.Equal(["probed"], await NotesAsync("probed"));
    }

    [Fact]
    public async Task An_open_device_shows_its_holder()
    {
        await OpenAsync(Supervise(), consumer, "claim one");

        Assert.Equal("claim one", (await StatusAsync(status => status.State == DeviceState.Open)).Holder);
    }

    [Fact]
    public async Task A_closed_device_shows_no_holder()
    {
        var device = Supervise();
        await AskAsync<DeviceDone>(device, new CloseDevice(await OpenAsync(device, consumer)));
        await StatusAsync(status => status.State == DeviceState.Open);

        Assert.Null((await StatusAsync(status => status.State == DeviceState.Closed)).Holder);
    }

    [Fact]
    public async Task The_history_says_who_had_the_device_and_how_it_ended()
    {
        var device = Supervise();
        await OpenAsync(device, consumer, "claim one");
        Sys.Stop(consumer);

        Assert.Equal(["probed", "opened", "closed"], await NotesAsync("closed"));
        Assert.Equal("claim one: its holder died", notes[^1].Message);
    }

    [Fact]
    public async Task What_a_driver_records_of_its_migration_shows()
    {
        var device = Supervise(Scripted(own => own.Take<SetMigrationState>(set =>
        {
            ScriptedDriver.Tell(new MigrationStateChanged(set.Target));
            own.Answer(DeviceDone.Instance);
        })));

        await AskAsync<DeviceDone>(device, new SetMigrationState(Nobodys, MigrationState.PreCopy));

        await StatusAsync(status => status.Migration == MigrationState.PreCopy);
    }

    [Fact]
    public async Task The_front_of_a_device_takes_requests()
    {
        var found = await AskAsync<DeviceFound>(Supervise(), new FindDevice(function.Address));

        await AskAsync<DeviceOpened>(found.Front, new OpenDevice("somebody", consumer));
    }

    // ---- A quarantine whose holder goes on -------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_holder_of_a_quarantined_device_keeps_its_session()
    {
        var device = Supervise();
        var session = await OpenAsync(device, consumer, "claim one");
        device.Tell(new QuarantineDevice(function.Address, "it smells", "ops"));

        Assert.Equal("claim one", (await StatusAsync(status => status is { State: DeviceState.Quarantined, Readable: true })).Holder);
        await AskAsync<DeviceDone>(device, new CloseDevice(session));
    }

    [Theory]
    [InlineData(0, "it smells; then it hangs in reset: not back after 5 s")]
    [InlineData(1, "it smells; then its config space reads all ones: the link is dead")]
    [InlineData(2, "it smells; then it did not recover from an uncorrectable error")]
    public async Task A_quarantined_device_that_gets_worse_cannot_be_read_any_more_and_ends_its_sessions(int worse, string reason)
    {
        DeviceFact[] facts = [new HardwareHung("reset", TimeSpan.FromSeconds(5)), new LinkFoundDead(), new RecoveryEnded(Recovered: false)];
        var device = Supervise();
        await OpenAsync(device, consumer, "claim one");
        device.Tell(new QuarantineDevice(function.Address, "it smells", "ops"));
        await StatusAsync(status => status is { State: DeviceState.Quarantined, Readable: true });

        device.Tell(facts[worse]);

        Assert.Equal(reason, (await StatusAsync(status => status is { State: DeviceState.Quarantined, Readable: false })).Reason);
        await StatusAsync(status => status is { State: DeviceState.Quarantined, Holder: null });
    }

    // ---- A driver that throws --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_throws_is_restarted_alone_and_the_cores_session_survives()
    {
        var device = Supervise(Failing);
        var session = await OpenAsync(device, consumer);
        function.Calls.Clear();

        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new GetMigrationState(session))).Errno);

        await AskAsync<DeviceInfoRead>(device, new GetDeviceInfo(session));
        Assert.Empty(function.Calls);
    }

    [Fact]
    public async Task A_driver_that_throws_is_in_the_history()
    {
        var device = Supervise(Failing);

        await RefusedAsync(device, new GetMigrationState(Nobodys));

        await NotesAsync("driver-restarted");
        Assert.Contains("bad luck", notes[^1].Message);
    }

    [Fact]
    public async Task A_driver_may_fail_as_often_as_the_budget_says()
    {
        var device = Supervise(Failing);
        var session = await OpenAsync(device, consumer);

        await FailAsync(device, Budget);

        await AskAsync<DeviceInfoRead>(device, new GetDeviceInfo(session));
    }

    [Fact]
    public async Task A_driver_that_fails_once_too_often_quarantines_its_device()
    {
        var device = Supervise(Failing);

        await FailAsync(device, Budget + 1);

        var status = await StatusAsync(status => status.State == DeviceState.Quarantined);
        Assert.Equal(DeviceHealth.Unhealthy, status.Health);
    }

    [Fact]
    public async Task Failures_of_more_than_an_hour_ago_do_not_count()
    {
        var device = Supervise(Failing);
        await FailAsync(device, Budget);
        Time.Advance(TimeSpan.FromMinutes(61));

        await FailAsync(device, Budget);

        await AskAsync<DeviceOpened>(device, new OpenDevice("somebody", consumer));
    }

    [Fact]
    public async Task A_driver_that_cannot_even_be_made_is_given_up_for_the_next_best()
    {
        Supervise(Scripted(_ => throw new InvalidOperationException("bad luck")));

        var unbound = (DeviceUnbound)await host.FishForMessageAsync(
            static message => message is DeviceUnbound, TimeSpan.FromSeconds(15), cancellationToken: Cancelled);
        Assert.Equal(("scripted", true), (unbound.Unmade!.Driver, unbound.Unmade.Refused));
        Assert.Contains("bad luck", unbound.Unmade.Reason, StringComparison.Ordinal);
    }

    // ---- Quarantine ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_quarantined_device_is_closed_and_cut_off_from_memory()
    {
        var device = Supervise(Failing);
        await OpenAsync(device, consumer);

        await FailAsync(device, Budget + 1);

        await NotesAsync("closed");
        Assert.Null(function.Dma);
    }

    [Fact]
    public async Task A_quarantined_device_has_no_holder_and_stays_quarantined_when_its_session_has_ended()
    {
        var device = Supervise(Failing);
        await OpenAsync(device, consumer);

        await FailAsync(device, Budget + 1);

        await StatusAsync(status => status is { State: DeviceState.Quarantined, Holder: "somebody" });
        await StatusAsync(status => status is { State: DeviceState.Quarantined, Holder: null });
    }

    [Fact]
    public async Task A_quarantined_device_is_not_handed_out_and_says_why()
    {
        var device = Supervise(Failing);
        await FailAsync(device, Budget + 1);

        var refused = await RefusedAsync(device, new FindDevice(function.Address));

        Assert.Equal(Errno.EIO, refused.Errno);
        Assert.Contains("bad luck", refused.Sentence);
    }

    [Fact]
    public async Task A_quarantined_device_answers_every_request_with_EIO()
    {
        var device = Supervise(Failing);
        await FailAsync(device, Budget + 1);

        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new OpenDevice("somebody", consumer))).Errno);
        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new GetDeviceInfo(Nobodys))).Errno);
    }

    [Fact]
    public async Task A_quarantined_device_has_no_opinion_on_the_recovery_of_others()
    {
        var device = Supervise(Failing);
        await FailAsync(device, Budget + 1);

        Assert.Equal(RecoveryVote.None, (await AskAsync<RecoveryVoted>(device, new ErrorDetected(ChannelState.Normal, AnError))).Vote);
    }

    [Fact]
    public async Task A_recovery_of_others_does_not_end_a_quarantine()
    {
        var device = Supervise(Failing);
        await FailAsync(device, Budget + 1);
        device.Tell(new RecoveryStarted(AnError, IsSource: false));
        device.Tell(new RecoveryEnded(Recovered: true));

        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new FindDevice(function.Address))).Errno);
    }

    // ---- A core that throws ----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_core_that_throws_costs_its_requester_one_EIO()
    {
        var device = Supervise();
        var session = await OpenAsync(device, consumer);
        function.OnBarAccess = BadLuck;

        var failed = await RefusedAsync(device, new ReadRegion(session, 0, 0, 4));

        Assert.Equal(Errno.EIO, failed.Errno);
        Assert.Contains("bad luck", failed.Sentence);
    }

    [Fact]
    public async Task A_core_that_throws_at_a_drivers_question_costs_the_requester_one_EIO()
    {
        var device = Supervise(Scripted(own => own.Take<ReadRegion>(read => own.Ask(read, own.Answer))));
        var session = await OpenAsync(device, consumer);
        function.OnBarAccess = BadLuck;

        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new ReadRegion(session, 0, 0, 4))).Errno);
    }

    [Fact]
    public async Task A_device_whose_core_threw_is_reset_and_probed_anew()
    {
        var device = Supervise();
        await BreakCoreAsync(device);

        await NotesAsync("core-failed");
        Assert.Equal(["probed", "opened", "core-failed", "closed", "probed"], await NotesAsync("probed"));
        var found = await AskAsync<DeviceFound>(device, new FindDevice(function.Address));
        Assert.Equal((DeviceState.Closed, DeviceHealth.Healthy, null), (found.Status.State, found.Status.Health, found.Status.Holder));
    }

    [Fact]
    public async Task A_session_of_a_core_that_threw_is_ENODEV_at_the_address_it_always_had()
    {
        var device = Supervise();
        var front = (await AskAsync<DeviceFound>(device, new FindDevice(function.Address))).Front;
        var session = await BreakCoreAsync(front);

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, new GetDeviceInfo(session))).Errno);
    }

    [Fact]
    public async Task A_device_whose_core_threw_can_be_opened_again_under_another_session_number()
    {
        var device = Supervise();
        var before = await BreakCoreAsync(device);

        Assert.NotEqual(before, await OpenAsync(device, consumer));
    }

    [Fact]
    public async Task A_core_that_throws_once_too_often_quarantines_its_device()
    {
        var device = Supervise();

        for (var i = 0; i <= Budget; i++)
            await BreakCoreAsync(device);

        await StatusAsync(status => status.State == DeviceState.Quarantined);
        Assert.Equal(Errno.EIO, (await RefusedAsync(device, new OpenDevice("somebody", consumer))).Errno);
    }

    [Fact]
    public async Task A_function_that_no_core_takes_is_shown_with_the_reason_and_not_handed_out()
    {
        function.Put(Fabric.Pci.ConfigOffset.HeaderType, 1);

        var device = Supervise();

        Assert.Contains("bridge", (await StatusAsync(status => status.State == DeviceState.Inventory)).Reason);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(device, new FindDevice(function.Address))).Errno);
    }

    [Fact]
    public async Task A_function_that_reads_all_ones_when_it_is_probed_is_quarantined_as_dead_and_not_taken_for_a_bridge()
    {
        for (var offset = 0; offset < 64; offset += 2)
            function.Put(offset, 0xffff);

        Supervise();

        Assert.Contains("all ones", (await StatusAsync(status => status.State == DeviceState.Quarantined)).Reason);
    }

    private static DriverRegistration Failing => Scripted(own => own.Take<GetMigrationState>(_ => throw new InvalidOperationException("bad luck")));

    private static VfioResult BadLuck() => throw new InvalidOperationException("bad luck");

    private IActorRef Supervise(DriverRegistration? driver = null) =>
        host.ChildActorOf(
        DeviceSupervisor.Props(
            new SupervisedDevice(function, driver, StatusOf(function, driver), ActorRefs.Nobody, DeviceStanding.None, 100),
            new HostContext(
                new VfioPciDevices(callersTakeTurns: true), DeviceOptions.Default, Threads, Time, Sys.ActorOf(IommuGroupActor.Props(7)),
                Sys.ActorOf(ForgetfulHistory.Props()))),
        Cancelled);

    private async Task<DeviceStatus> StatusAsync(Predicate<DeviceStatus> condition) =>
        (await UntilAsync<DeviceStatusChanged>(host, changed => condition(changed.Status))).Status;

    /// <summary>The kinds of all entries of the history so far, the last of which is of this kind.</summary>
    private async Task<IEnumerable<string>> NotesAsync(string last)
    {
        await host.FishForMessageAsync(
            message =>
            {
                if (message is DeviceNoted noted)
                    notes.Add(noted.Entry);
                return message is DeviceNoted { Entry.Kind: var kind } && kind == last;
            },
            TimeSpan.FromSeconds(15), cancellationToken: Cancelled);
        return notes.Select(entry => entry.Kind);
    }

    private static async Task FailAsync(IActorRef device, int times)
    {
        for (var i = 0; i < times; i++)
            Assert.Equal(Errno.EIO, (await RefusedAsync(device, new GetMigrationState(Nobodys))).Errno);
    }

    /// <summary>Opens the device and has the core throw; the session it had.</summary>
    private async Task<SessionId> BreakCoreAsync(IActorRef device)
    {
        function.OnBarAccess = () => VfioResult.Ok;
        var session = await OpenAsync(device, consumer);
        function.OnBarAccess = BadLuck;
        await RefusedAsync(device, new ReadRegion(session, 0, 0, 4));
        return session;
    }
}
