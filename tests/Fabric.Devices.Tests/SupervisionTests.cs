using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>Failures of driver, core, supervisor and host: what must survive does, and everybody who asked is answered.</summary>
public sealed class SupervisionTests : SlotTest
{
    private readonly SlotFunction function;
    private readonly Journal journal = new();

    public SupervisionTests()
    {
        function = Bus.Add(One);
        Bus.Add(Other);
    }

    // ---- Supervisor ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_supervisor_that_fails_begins_anew_with_the_same_address_and_a_fresh_device()
    {
        var host = Host(history: journal.Props());
        var holder = CreateTestProbe();
        await OpenAsync(await FrontAsync(host, One), holder);

        await FailSupervisorAsync();

        await NoteAsync(One, "supervisor-restarted");
        await StateAsync(One, DeviceState.Closed);
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task A_quarantine_survives_the_failure_of_its_supervisor_with_its_reason()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        await FailSupervisorAsync();
        await NoteAsync(One, "supervisor-restarted");

        Assert.Equal((DeviceState.Quarantined, "it is loud"), ((await StatusAsync(host, One)).State, (await StatusAsync(host, One)).Reason));
        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new FindDevice(One))).Errno);
    }

    [Fact]
    public async Task Budgets_survive_the_failure_of_the_supervisor()
    {
        var host = Host();
        await FrontAsync(host, One);
        for (var i = 0; i < 5; i++)
        {
            Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));
            await NextAsync<RecoveryReport>(Client);
            await AskAsync<DeviceInspected>(host, new InspectDevice(One));
            Advance(Options.ErrorInterval);
        }

        await FailSupervisorAsync();
        await NoteAsync(One, "supervisor-restarted");
        await FrontAsync(host, One);
        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));

        await StateAsync(One, DeviceState.Quarantined);
    }

    [Fact]
    public async Task A_removal_survives_the_failure_of_the_supervisor_and_who_asked_is_answered()
    {
        var host = Host();
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");

        await FailSupervisorAsync();

        await NextAsync<HostDone>(Client);
        Assert.Null(Bus.Find(One));
    }

    [Fact]
    public async Task Who_waits_for_an_acknowledgement_or_a_way_back_is_answered_after_the_failure_of_the_supervisor()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));
        using var hang = Bus.HangAt(One, "reset");
        Client.Send(host, new UnquarantineDevice(One, "me"));
        await hang.Entered;

        await FailSupervisorAsync();
        function.Before = static _ => { };
        hang.Release();

        // The call that had hung may be in the way of the next probe still; then it is asked for again.
        for (var i = 0; i < 10 && await InTimeAsync<object>(Client, TimeSpan.FromSeconds(60)) is not HostDone; i++)
            Client.Send(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task A_supervisor_that_is_lost_leaves_its_device_out_of_service_with_a_reason_and_the_others_alone()
    {
        var host = Host();
        await FrontAsync(host, One);
        var front = await FrontAsync(host, Other);
        var session = await OpenAsync(front, TestActor);

        (await SupervisorAsync()).Tell(Kill.Instance);

        var status = await StateAsync(One, DeviceState.Quarantined);
        Assert.NotNull(status.Reason);
        Assert.NotNull(status.WayBack);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(One))).Errno);
        await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
    }

    // ---- Driver and core -------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_cannot_be_made_any_more_is_not_made_for_ever_and_its_address_answers()
    {
        var made = 0;
        var works = true;
        var host = Host(drivers: At(One, own =>
        {
            Interlocked.Increment(ref made);
            if (!Volatile.Read(ref works))
                throw new InvalidOperationException("bad luck");
            own.Take<GetMigrationFlags>(_ => throw new InvalidOperationException("worse luck"));
        }));
        var front = await FrontAsync(host, One);
        Volatile.Write(ref works, false);

        front.Tell(new GetMigrationFlags(default), TestActor);

        await StateAsync(One, DeviceState.Quarantined);
        await InTimeAsync<DeviceFailed>(await AskedAsync(front), TimeSpan.FromSeconds(4), failed => failed.Error.Errno == Errno.EIO);
        var before = Volatile.Read(ref made);
        await AskAsync<DeviceInspected>(host, new InspectDevice(One));
        Assert.Equal(before, Volatile.Read(ref made));
        Assert.InRange(before, 1, 10);
        Volatile.Write(ref works, true);
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Assert.Equal(before + 1, Volatile.Read(ref made));
    }

    [Fact]
    public async Task A_core_whose_probe_throws_each_time_is_not_made_for_ever()
    {
        var probes = 0;
        function.Before = call =>
        {
            Interlocked.Increment(ref probes);
            throw new InvalidOperationException("bad luck");
        };
        var host = Host();

        var status = await StateAsync(One, DeviceState.Quarantined);

        Assert.Contains("bad luck", status.Reason, StringComparison.Ordinal);
        await AskAsync<DeviceInspected>(host, new InspectDevice(One));
        Assert.InRange(probes, 1, 3);
    }

    [Fact]
    public async Task A_message_that_nobody_knows_harms_nobody()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        foreach (var target in new[] { host, front, await SupervisorAsync() })
        {
            target.Tell("poison");
            target.Tell(new object());
        }

        await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
        Assert.Equal(DeviceState.Open, (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.State);
    }

    [Fact]
    public async Task A_core_that_fails_on_its_way_out_leaves_all_the_same()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");
        function.Before = static call =>
        {
            if (call == "read region")
                throw new InvalidOperationException("bad luck");
        };

        await RefusedAsync(front, new ReadRegion(session, 0, 0, 4));

        await NextAsync<HostDone>(Client);
        Assert.DoesNotContain(Registered.Devices, device => device.Address == One);
    }

    // ---- Host ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_host_that_fails_begins_anew_at_its_address_and_quarantines_and_methods_survive()
    {
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new SetResetMethods(One, ["pm"], "me"));
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));
        var holder = CreateTestProbe();
        await OpenAsync(await FrontAsync(host, Other), holder);

        // What a list of devices is made of fails: nothing that the host expects.
        host.Tell(new DeviceStatusChanged(null!));

        await UntilAsync<DeviceNoted>(Events, noted => noted.Address == Other && noted.Entry.Kind == "probed");
        var status = await StatusAsync(host, One);
        Assert.Equal((DeviceState.Quarantined, "it is loud"), (status.State, status.Reason));
        Assert.Equal(["pm"], status.ResetMethods);
        await OpenAsync(await FrontAsync(host, Other), TestActor);
    }

    private async Task<IActorRef> SupervisorAsync() => await Sys.ActorSelection($"/user/host/device-{One}").ResolveOne(TimeSpan.FromSeconds(15), Cancelled);

    /// <summary>A fact that is none makes it throw.</summary>
    private async Task FailSupervisorAsync() => (await SupervisorAsync()).Tell(new ErrorsReported(null!, 1, 1));

    private Task<Akka.TestKit.TestProbe> AskedAsync(IActorRef front)
    {
        Client.Send(front, new OpenDevice("another", Client));
        return Task.FromResult(Client);
    }
}
