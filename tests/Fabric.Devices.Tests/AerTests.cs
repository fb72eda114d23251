using Akka.Actor;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>Recovery from errors (contract §4): whose they are, what is lost and given back, who votes.</summary>
public sealed class AerTests : SlotTest
{
    private static readonly AerHeaderLog Header = new(1, 2, 3, 4);

    public AerTests()
    {
        Bus.Add(One);
        Bus.Add(Two);
        Bus.Add(Other);
    }

    // ---- Scope -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task An_error_of_a_port_or_bridge_is_one_of_everything_below_it_in_bus_order()
    {
        var host = Host();
        await FrontAsync(host, One);

        Client.Send(host, new InjectAer(SlotBus.PortOf(One), AerSeverity.Fatal));

        var report = await NextAsync<RecoveryReport>(Client);
        Assert.StartsWith($"error_detected(frozen): {One} CAN_RECOVER, {Two} CAN_RECOVER", report.Steps[0], StringComparison.Ordinal);
        Assert.Equal([SlotBus.PortOf(One)], Bus.LinkResets);
        Assert.DoesNotContain(await HistoryAsync(host, Other), entry => entry.Kind == "recovering");
    }

    [Fact]
    public async Task Votes_are_collected_in_parallel_and_each_round_has_one_deadline()
    {
        var heard = CreateTestProbe();
        var host = Host(drivers: Scripted(own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.At))));
        await FrontAsync(host, One);

        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));

        // Both are asked before either has answered.
        PciAddress[] asked = [await NextAsync<PciAddress>(heard), await NextAsync<PciAddress>(heard)];
        Assert.Equal([One, Two], asked.Order());
        Advance(Options.VoteDeadline);
        await NextAsync<PciAddress>(heard);
        Advance(Options.VoteDeadline);
        var report = await InTimeAsync<RecoveryReport>(Client, TimeSpan.FromSeconds(60));
        Assert.Equal($"error_detected(normal): {One} NO_AER_DRIVER, {Two} NO_AER_DRIVER", report.Steps[0]);
    }

    [Fact]
    public async Task A_vote_that_comes_while_the_link_is_reset_is_not_heard()
    {
        var heard = CreateTestProbe();
        var reset = new Hang();
        Bus.OnLinkReset = _ =>
        {
            reset.Enter();
            return VfioResult.Ok;
        };
        var host = Host(drivers: At(Two, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        await FrontAsync(host, Two);
        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));
        var ballot = await NextAsync<IActorRef>(heard);
        Advance(Options.VoteDeadline);
        await reset.Entered;

        ballot.Tell(new RecoveryVoted(RecoveryVote.CanRecover));
        reset.Release();

        Advance(Options.VoteDeadline);
        var report = await InTimeAsync<RecoveryReport>(Client, TimeSpan.FromSeconds(60));
        Assert.Single(report.Steps, step => step.StartsWith("error_detected(frozen)", StringComparison.Ordinal));
        Assert.DoesNotContain("the recovery itself failed", report.Steps);
    }

    [Fact]
    public async Task A_recovery_that_fails_itself_is_told_of_and_its_devices_are_out_of_service()
    {
        var host = Host();
        await FrontAsync(host, One);
        Bus.OnLinkReset = _ =>
        {
            Sys.ActorSelection("/user/host/$*").Tell(Kill.Instance);
            return VfioResult.Ok;
        };

        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));

        Assert.Contains("the recovery itself failed", (await InTimeAsync<RecoveryReport>(Client, TimeSpan.FromSeconds(60))).Steps);
        await StateAsync(One, DeviceState.Quarantined);
        await FrontAsync(host, Other);
    }

    // ---- What a link reset takes -----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_the_link_reset_took_is_given_back_before_slot_reset_and_interrupts_are_armed_again_ER_10_CF_11()
    {
        var seen = CreateTestProbe();
        var function = Bus.At(One);
        Bus.OnLinkReset = _ =>
        {
            function.LoseConfig();
            return VfioResult.Ok;
        };
        var host = Host(drivers: At(One, own =>
        {
            own.Take<ErrorDetected>(error => own.Ask(error, _ => own.Answer(new RecoveryVoted(RecoveryVote.NeedReset))));
            own.Take<SlotReset>(_ =>
            {
                seen.Ref.Tell((function.Bar0, function.Hardware(ConfigOffset.Command), function.Hardware(SlotFunction.Msi + 2)));
                own.Answer(new RecoveryVoted(RecoveryVote.Recovered));
            });
        }));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        var vector = new FakeTarget();
        await AskAsync<DeviceIrqsSet>(front, new SetDeviceIrqs(session, new SetIrqs(
            (uint)IrqIndex.Msi, 0, 1, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, Events: new[] { EventRef.Of(vector) })));
        await AskAsync<RegionWritten>(front, new WriteRegion(session, RegionIndex.Config, ConfigOffset.Command, new byte[] { 6, 0 }));
        var before = (function.Bar0, function.Hardware(ConfigOffset.Command), function.Hardware(SlotFunction.Msi + 2));
        Assert.NotEqual(0, before.Item2 & (int)PciCommand.BusMaster);
        Assert.NotEqual(0, before.Item3 & 1);

        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));

        Assert.True((await NextAsync<RecoveryReport>(Client)).Recovered);
        Assert.Equal(before, await NextAsync<(uint, ushort, ushort)>(seen));
        Assert.Contains(await HistoryAsync(host, One), entry => entry.Kind == "config-repaired");
        function.Lines.Fire(0);
        Assert.Equal(1, vector.Signals);
    }

    [Fact]
    public async Task A_closed_device_has_nothing_to_be_given_back()
    {
        Bus.OnLinkReset = _ =>
        {
            Bus.At(One).LoseConfig();
            return VfioResult.Ok;
        };
        var host = Host();
        await FrontAsync(host, One);

        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));

        Assert.True((await NextAsync<RecoveryReport>(Client)).Recovered);
        Assert.DoesNotContain(await HistoryAsync(host, One), entry => entry.Kind == "config-repaired");
    }

    // ---- Who votes (DM-1) ------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_consumer_that_asks_for_a_reset_sees_severity_state_and_header_log_and_gets_slot_reset_and_resume_DM_1()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var consumer = CreateTestProbe();
        await AskAsync<DeviceDone>(front, new HandleErrors(await OpenAsync(front, consumer), consumer));

        Bus.Report(One, AerSeverity.NonFatal, 0x1234, Header);

        var error = await NextAsync<ErrorDetected>(consumer);
        Assert.Equal((ChannelState.Normal, AerSeverity.NonFatal, 0x1234u, Header), (error.State, error.Record.Severity, error.Record.Status, error.Record.HeaderLog));
        consumer.Reply(new RecoveryVoted(RecoveryVote.NeedReset));
        await NextAsync<SlotReset>(consumer);
        Assert.Equal([One], Bus.LinkResets);
        consumer.Reply(new RecoveryVoted(RecoveryVote.Recovered));
        await NextAsync<ResumeOperation>(consumer);
        consumer.Reply(new RecoveryVoted(RecoveryVote.None));
        await NoteAsync(One, "recovered");
    }

    [Fact]
    public async Task A_consumer_that_does_not_answer_leaves_the_vote_to_the_core_DM_1()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var consumer = CreateTestProbe();
        await AskAsync<DeviceDone>(front, new HandleErrors(await OpenAsync(front, consumer), consumer));

        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));
        await NextAsync<ErrorDetected>(consumer);

        var report = await InTimeAsync<RecoveryReport>(Client, Options.VoteDeadline * 4);
        Assert.True(report.Recovered);
        Assert.Contains($"{One} CAN_RECOVER", report.Steps[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_consumer_that_no_longer_votes_is_not_asked_DM_1()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var consumer = CreateTestProbe();
        var session = await OpenAsync(front, consumer);
        await AskAsync<DeviceDone>(front, new HandleErrors(session, consumer));
        await AskAsync<DeviceDone>(front, new HandleErrors(session, null));

        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));

        await NextAsync<RecoveryReport>(Client);
        Assert.False(consumer.HasMessages);
    }

    [Fact]
    public async Task A_device_without_any_handler_fails_the_recovery_of_all_though_they_could_recover_ER_12()
    {
        // The kit's way of having no error_detected: the request is refused.
        var host = Host(drivers: At(Two, own => own.Take<ErrorDetected>(_ => own.Answer(new DeviceFailed(Errno.ENOTTY, "No handler.")))));
        await FrontAsync(host, Two);

        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));

        var report = await NextAsync<RecoveryReport>(Client);
        Assert.Equal($"error_detected(frozen): {One} CAN_RECOVER, {Two} NO_AER_DRIVER", report.Steps[0]);
        // The link was reset all the same.
        Assert.Equal([One], Bus.LinkResets);
        Assert.Contains(report.Steps, step => step.StartsWith("error_detected(perm_failure)", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_link_reset_that_hangs_is_given_up_and_the_other_ports_go_on()
    {
        using var reset = new Hang();
        Bus.OnLinkReset = source =>
        {
            if (source == One)
                reset.Enter();
            return VfioResult.Ok;
        };
        var host = Host();
        await FrontAsync(host, One);
        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));
        await reset.Entered;
        var others = CreateTestProbe();

        others.Send(host, new InjectAer(Other, AerSeverity.Fatal));

        Assert.True((await NextAsync<RecoveryReport>(others)).Recovered);
        var report = await InTimeAsync<RecoveryReport>(Client, TimeSpan.FromSeconds(60));
        Assert.Contains(report.Steps, step => step.Contains("ETIMEDOUT", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_bus_that_fails_at_its_scope_does_not_take_other_devices_with_it()
    {
        var host = Host();
        var front = await FrontAsync(host, Other);
        var session = await OpenAsync(front, TestActor);
        Bus.Before = call =>
        {
            if (call == "scope")
                throw new InvalidOperationException("bad luck");
        };

        Bus.Report(One, AerSeverity.NonFatal);

        await NoteAsync(One, "recovered");
        await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
    }
}
