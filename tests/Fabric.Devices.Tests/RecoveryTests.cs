using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>The PCI core's recovery (contract §4.3) over real supervisors, drivers and cores.</summary>
public sealed class RecoveryTests : DeviceTest
{
    private static readonly PciAddress First = new(0xfab0, 0x01, 0, 1);
    private static readonly PciAddress Second = new(0xfab0, 0x01, 0, 2);
    private static readonly PciAddress Elsewhere = new(0xfab0, 0x02, 0, 1);

    private readonly FailingBus bus = new(
        new FakeFunction { Address = First }, new FakeFunction { Address = Second }, new FakeFunction { Address = Elsewhere });

    private readonly TestProbe events;

    public RecoveryTests()
    {
        events = CreateTestProbe();
        Sys.EventStream.Subscribe(events, typeof(DeviceStatusChanged));
    }

    // ---- The machine's ways ----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_non_fatal_error_is_recovered_without_a_reset_ER_11()
    {
        var report = await AskAsync<RecoveryReport>(Host(), new InjectAer(First, AerSeverity.NonFatal));

        Assert.True(report.Recovered);
        Assert.Equal(
            [
                "error_detected(normal): fab0:01:00.1 CAN_RECOVER, fab0:01:00.2 CAN_RECOVER",
                "mmio_enabled: fab0:01:00.1 NONE, fab0:01:00.2 NONE",
                "resume: fab0:01:00.1 NONE, fab0:01:00.2 NONE",
            ],
            report.Steps);
        Assert.Empty(bus.LinkResets);
    }

    [Fact]
    public async Task A_fatal_error_resets_the_link_under_the_user_ER_10()
    {
        var report = await AskAsync<RecoveryReport>(Host(), new InjectAer(First, AerSeverity.Fatal));

        Assert.True(report.Recovered);
        Assert.Equal(
            [
                "error_detected(frozen): fab0:01:00.1 CAN_RECOVER, fab0:01:00.2 CAN_RECOVER",
                "mmio_enabled: fab0:01:00.1 NONE, fab0:01:00.2 NONE",
                "link reset above fab0:01:00.1: done",
                "resume: fab0:01:00.1 NONE, fab0:01:00.2 NONE",
            ],
            report.Steps);
        Assert.Equal([First], bus.LinkResets);
    }

    [Fact]
    public async Task A_driver_that_asks_for_a_reset_gets_it_and_slot_reset_and_resume_DM_1()
    {
        var heard = CreateTestProbe();
        var host = Host(Scripted(own =>
        {
            Vote<ErrorDetected>(own, heard, RecoveryVote.NeedReset);
            Vote<SlotReset>(own, heard, RecoveryVote.Recovered);
            Vote<ResumeOperation>(own, heard, RecoveryVote.None);
        }));

        var report = await AskAsync<RecoveryReport>(host, new InjectAer(Elsewhere, AerSeverity.NonFatal));

        Assert.True(report.Recovered);
        Assert.Equal([Elsewhere], bus.LinkResets);
        await NextAsync<ErrorDetected>(heard);
        await NextAsync<SlotReset>(heard);
        await NextAsync<ResumeOperation>(heard);
    }

    [Fact]
    public async Task Votes_are_merged_in_walk_order_however_late_they_come_ER_20()
    {
        // NEED_RESET from the first; the second answers before it.
        var asked = CreateTestProbe();
        var host = Host(ByAddress(First, own => own.Take<ErrorDetected>(_ => own.Ask(new GetDeviceInfo(default), _ =>
        {
            asked.Ref.Tell("asked");
            own.Answer(new RecoveryVoted(RecoveryVote.NeedReset));
        }))));

        var report = await AskAsync<RecoveryReport>(host, new InjectAer(Second, AerSeverity.NonFatal));

        await NextAsync<string>(asked);
        Assert.Equal("error_detected(normal): fab0:01:00.1 NEED_RESET, fab0:01:00.2 CAN_RECOVER", report.Steps[0]);
    }

    [Fact]
    public async Task Only_functions_under_the_same_port_take_part()
    {
        var host = Host();
        await OpenAllAsync(host);

        await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.Fatal));

        var history = await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(Elsewhere, 100));
        Assert.DoesNotContain(history.Entries, entry => entry.Kind == "recovering");
    }

    // ---- Votes that do not come ------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_does_not_vote_within_5_seconds_counts_as_having_no_handler()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell("heard"))));
        var client = CreateTestProbe();
        client.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        await NextAsync<string>(heard);

        Timers.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<string>(heard);
        Timers.Advance(TimeSpan.FromSeconds(5));

        var report = await NextAsync<RecoveryReport>(client);
        AssertFailedAsTheKernels(report);
        Assert.Contains("fab0:01:00.2 NO_AER_DRIVER", report.Steps[0]);
    }

    [Fact]
    public async Task A_vote_that_comes_late_is_not_counted_for_the_next_round()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        var client = CreateTestProbe();
        client.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        var ballot = await NextAsync<IActorRef>(heard);
        Timers.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<IActorRef>(heard);

        ballot.Tell(new RecoveryVoted(RecoveryVote.Recovered));
        Timers.Advance(TimeSpan.FromSeconds(5));

        var report = await NextAsync<RecoveryReport>(client);
        AssertFailedAsTheKernels(report);
        Assert.Contains("fab0:01:00.2 NO_AER_DRIVER", report.Steps[1]);
    }

    [Fact]
    public async Task A_driver_that_fails_instead_of_voting_counts_as_having_no_handler()
    {
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => throw new InvalidOperationException("bad luck"))));

        var report = await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.NonFatal));

        AssertFailedAsTheKernels(report);
        Assert.Contains("fab0:01:00.2 NO_AER_DRIVER", report.Steps[0]);
    }

    // ---- Recoveries that fail --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_link_that_does_not_reset_fails_the_recovery()
    {
        bus.OnLinkReset = () => VfioResult.Fail(Errno.EIO, "The link did not come up.");

        var report = await AskAsync<RecoveryReport>(Host(), new InjectAer(First, AerSeverity.Fatal));

        AssertFailedAsTheKernels(report);
    }

    [Fact]
    public async Task A_failed_recovery_quarantines_everything_in_its_scope_and_nothing_else()
    {
        bus.OnLinkReset = () => VfioResult.Fail(Errno.EIO, "The link did not come up.");
        foreach (var function in bus.Functions.Cast<FakeFunction>())
            function.OnReset = () => VfioResult.Fail(Errno.EIO, "The reset did not work.");
        var host = Host();

        Assert.False((await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.Fatal))).Recovered);

        await StateAsync(First, DeviceState.Quarantined);
        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new FindDevice(Second))).Errno);
        await AskAsync<DeviceFound>(host, new FindDevice(Elsewhere));
    }

    [Fact]
    public async Task A_recovery_that_failed_is_followed_by_the_reset_ladder_ER_32()
    {
        bus.OnLinkReset = () => VfioResult.Fail(Errno.EIO, "The link did not come up.");

        var report = await AskAsync<RecoveryReport>(Host(), new InjectAer(First, AerSeverity.Fatal));

        Assert.True(report.Recovered);
        Assert.Equal(
            ["not recovered: climbing the reset ladder", "the ladder brought back fab0:01:00.1, fab0:01:00.2"], report.Steps[^2..]);
    }

    [Fact]
    public async Task ERR_is_signalled_at_the_error_and_again_when_recovery_has_failed_ER_4()
    {
        bus.OnLinkReset = () => VfioResult.Fail(Errno.EIO, "The link did not come up.");
        var host = Host();
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(First))).Front;
        var target = new FakeTarget();
        await AskAsync<DeviceDone>(front, new SetTrigger(await OpenAsync(front, TestActor), IrqIndex.Err, target));

        await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.Fatal));

        Assert.Equal(2, target.Signals);
    }

    [Fact]
    public async Task A_quarantined_function_does_not_stand_in_the_way_of_its_neighbours()
    {
        var host = Host(ByAddress(Second, own => own.Take<GetMigrationState>(_ => throw new InvalidOperationException("bad luck"))));
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(Second))).Front;
        for (var i = 0; i < 6; i++)
            await RefusedAsync(front, new GetMigrationState(default));

        var report = await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.NonFatal));

        Assert.True(report.Recovered);
        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new FindDevice(Second))).Errno);
    }

    // ---- What it shows ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_device_that_recovers_is_unhealthy_meanwhile_and_open_and_healthy_after_it()
    {
        var host = Host();
        await OpenAllAsync(host);

        await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.NonFatal));

        Assert.Equal(DeviceHealth.Unhealthy, (await StateAsync(First, DeviceState.Recovering)).Health);
        var after = await StateAsync(First, DeviceState.Open);
        Assert.Equal((DeviceHealth.Healthy, "somebody"), (after.Health, after.Holder));
    }

    [Fact]
    public async Task A_device_that_is_closed_while_it_recovers_goes_on_recovering()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(First))).Front;
        var session = await OpenAsync(front, TestActor);
        var client = CreateTestProbe();
        client.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        var ballot = await NextAsync<IActorRef>(heard);

        await AskAsync<DeviceDone>(front, new CloseDevice(session));

        await UntilAsync<DeviceStatusChanged>(events, changed => changed.Status is { State: DeviceState.Recovering, Holder: null } status && status.Address == First);
        ballot.Tell(new RecoveryVoted(RecoveryVote.CanRecover));
        await NextAsync<RecoveryReport>(client);
        await StateAsync(First, DeviceState.Closed);
    }

    [Fact]
    public async Task The_report_says_how_long_it_took()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        var client = CreateTestProbe();
        client.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        var ballot = await NextAsync<IActorRef>(heard);
        Time.Advance(TimeSpan.FromMilliseconds(1500));

        ballot.Tell(new RecoveryVoted(RecoveryVote.CanRecover));

        Assert.Equal(TimeSpan.FromMilliseconds(1500), (await NextAsync<RecoveryReport>(client)).Took);
    }

    // ---- Several errors --------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_second_error_under_the_same_port_waits_until_the_first_is_recovered()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        var (one, other) = (CreateTestProbe(), CreateTestProbe());
        one.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        var first = await NextAsync<IActorRef>(heard);
        other.Send(host, new InjectAer(Second, AerSeverity.NonFatal));
        first.Tell(new RecoveryVoted(RecoveryVote.CanRecover));
        await NextAsync<RecoveryReport>(one);
        (await NextAsync<IActorRef>(heard)).Tell(new RecoveryVoted(RecoveryVote.CanRecover));

        Assert.True((await NextAsync<RecoveryReport>(other)).Recovered);
        await StateAsync(First, DeviceState.Closed);
        var history = await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(First, 100));
        Assert.Equal(
            ["recovered", "recovering", "recovered", "recovering"],
            history.Entries.Select(entry => entry.Kind).Where(kind => kind.StartsWith("recover", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_error_under_another_port_does_not_wait()
    {
        var heard = CreateTestProbe();
        var host = Host(ByAddress(Second, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        var one = CreateTestProbe();
        one.Send(host, new InjectAer(First, AerSeverity.NonFatal));
        await NextAsync<IActorRef>(heard);

        Assert.True((await AskAsync<RecoveryReport>(host, new InjectAer(Elsewhere, AerSeverity.NonFatal))).Recovered);
    }

    /// <summary>What came of the reset ladder after it is another matter.</summary>
    private static void AssertFailedAsTheKernels(RecoveryReport report)
    {
        Assert.DoesNotContain(report.Steps, step => step.StartsWith("resume", StringComparison.Ordinal));
        Assert.Contains(report.Steps, step => step.StartsWith("error_detected(perm_failure)", StringComparison.Ordinal));
    }

    private static void Vote<T>(ScriptedDriver driver, TestProbe heard, RecoveryVote vote)
        where T : DeviceRequest => driver.Take<T>(callback =>
    {
        heard.Ref.Tell(callback);
        driver.Answer(new RecoveryVoted(vote));
    });

    /// <summary>A driver for all, that does something out of the way for one.</summary>
    private static DriverRegistration ByAddress(PciAddress address, Action<ScriptedDriver> script) => Scripted(own =>
    {
        if (own.At == address)
            script(own);
    });

    private IActorRef Host(params DriverRegistration[] drivers) =>
        ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(drivers), [], _ => null, Time)));

    private async Task OpenAllAsync(IActorRef host)
    {
        foreach (var function in bus.Functions)
            await OpenAsync((await AskAsync<DeviceFound>(host, new FindDevice(function.Address))).Front, TestActor);
    }

    private async Task<DeviceStatus> StateAsync(PciAddress address, DeviceState state) =>
        (await UntilAsync<DeviceStatusChanged>(events, changed => changed.Status.Address == address && changed.Status.State == state)).Status;
}
