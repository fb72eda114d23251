using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>Out of service, and the way back.</summary>
public sealed class QuarantineTests : SlotTest
{
    private readonly SlotFunction function;
    private readonly Journal journal = new();

    public QuarantineTests() => function = Bus.Add(One);

    [Fact]
    public async Task Taken_out_by_an_operator_the_holder_goes_on_and_nobody_else_opens_it()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor, "claim one");

        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));
        Assert.Equal(Errno.EIO, (await RefusedAsync(front, new OpenDevice("another", Client))).Errno);
        var status = await StatusAsync(host, One);
        Assert.Equal((DeviceState.Quarantined, DeviceHealth.Unhealthy, "it is loud", true, "claim one"),
            (status.State, status.Health, status.Reason, status.Readable, status.Holder));
        Assert.Contains("unquarantine", status.WayBack, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_is_acknowledged_only_when_it_is_written_down()
    {
        var standing = new TaskCompletionSource<DeviceStanding>(TaskCreationOptions.RunContinuationsAsynchronously);
        journal.OnKeep = (_, kept) =>
        {
            standing.TrySetResult(kept);
            return null;
        };
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);
        Client.Send(host, new QuarantineDevice(One, "it is loud", "me"));
        await StateAsync(One, DeviceState.Quarantined);
        await AskAsync<DeviceInspected>(host, new InspectDevice(One));
        Assert.False(Client.HasMessages);
        var supervisor = await Sys.ActorSelection($"/user/host/device-{One}").ResolveOne(TimeSpan.FromSeconds(15), Cancelled);

        supervisor.Tell(new StandingKept(One, await standing.Task.WaitAsync(TimeSpan.FromSeconds(15), Cancelled)));

        await NextAsync<HostDone>(Client);
    }

    [Fact]
    public async Task A_standing_that_cannot_be_written_down_is_said_so()
    {
        journal.OnKeep = (address, _) => new StandingNotKept(address, "the disk is full");
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);

        Assert.Contains("the disk is full", (await RefusedAsync(host, new QuarantineDevice(One, "it is loud", "me"))).Sentence, StringComparison.Ordinal);
        Assert.Equal(DeviceState.Quarantined, (await StatusAsync(host, One)).State);
    }

    [Fact]
    public async Task A_journal_that_is_silent_is_said_so_in_time()
    {
        journal.OnKeep = static (_, _) => null;
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);

        Client.Send(host, new QuarantineDevice(One, "it is loud", "me"));

        Assert.Equal(Errno.ETIMEDOUT, (await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 2)).Error.Errno);
    }

    [Fact]
    public async Task Put_back_it_is_reset_and_probed_and_its_budgets_begin_again()
    {
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);
        for (var i = 0; i < 6; i++)
        {
            Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));
            await NextAsync<RecoveryReport>(Client);
            await AskAsync<DeviceInspected>(host, new InspectDevice(One));
            Advance(Options.ErrorInterval);
        }

        await StateAsync(One, DeviceState.Quarantined);
        function.Calls.Clear();

        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));

        Assert.Equal(["flr"], function.Calls);
        Assert.Equal(DeviceHealth.Healthy, (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.Health);
        Assert.Empty(journal.Standings[One].Freezes);
        Assert.Null(journal.Standings[One].QuarantinedFor);
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task One_that_cannot_be_put_back_stays_where_it_is_and_says_why()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));
        function.IsDead = true;

        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new UnquarantineDevice(One, "me"))).Errno);

        Assert.Equal((DeviceState.Quarantined, "it is loud"), ((await StatusAsync(host, One)).State, (await StatusAsync(host, One)).Reason));
        Assert.Contains(await HistoryAsync(host, One), entry => entry.Kind == "still-quarantined");
        function.IsDead = false;
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
    }

    [Fact]
    public async Task One_that_is_not_in_quarantine_is_EINVAL()
    {
        var host = Host();
        await FrontAsync(host, One);

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(host, new UnquarantineDevice(One, "me"))).Errno);
    }

    [Fact]
    public async Task Two_who_put_it_back_at_once_get_one_done_and_one_EAGAIN()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));
        using var hang = Bus.HangAt(One, "reset");
        Client.Send(host, new UnquarantineDevice(One, "me"));
        await hang.Entered;

        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new UnquarantineDevice(One, "another"))).Errno);

        hang.Release();
        await NextAsync<HostDone>(Client);
    }

    [Fact]
    public async Task While_it_hangs_it_is_EBUSY_and_when_the_call_is_back_it_can_be_put_back()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        using var hang = Bus.HangAt(One, "reset");
        Client.Send(front, new ResetDevice(session));
        Assert.Equal(Errno.EIO, (await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 2)).Error.Errno);
        await StateAsync(One, DeviceState.Quarantined);

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(host, new UnquarantineDevice(One, "me"))).Errno);

        function.Before = static _ => { };
        hang.Release();
        await NoteAsync(One, "hang-ended");
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, One)).Health);
    }

    [Fact]
    public async Task While_driver_and_core_both_hang_the_end_of_one_does_not_let_it_be_put_back()
    {
        using var inDriver = new Hang();
        var host = Host(drivers: At(One, own => own.Take<GetMigrationFlags>(_ =>
        {
            inDriver.Enter();
            own.Answer(DeviceDone.Instance);
        })));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        using var inCore = Bus.HangAt(One, "reset");
        Client.Send(front, new ResetDevice(session));
        Client.Send(front, new GetMigrationFlags(session));
        await Task.WhenAll(inDriver.Entered, inCore.Entered);
        await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 2);
        await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 2);
        Assert.Equal(2, (await HistoryAsync(host, One)).Count(static entry => entry.Kind == "hung"));

        inDriver.Release();
        await NoteAsync(One, "hang-ended");

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(host, new UnquarantineDevice(One, "me"))).Errno);
        function.Before = static _ => { };
        inCore.Release();
        await NoteAsync(One, "hang-ended");
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task A_quarantine_outlives_the_host()
    {
        var host = Host(history: journal.Props());
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        await StopAsync(host);
        host = Host(history: journal.Props());

        var status = await StatusAsync(host, One);
        Assert.Equal((DeviceState.Quarantined, "it is loud"), (status.State, status.Reason));
        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new FindDevice(One))).Errno);
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
    }
}
