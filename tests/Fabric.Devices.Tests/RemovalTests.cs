using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>Devices that go, in order or by surprise, and come (LC-32 to LC-36).</summary>
public sealed class RemovalTests : SlotTest
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly SlotFunction function;

    public RemovalTests()
    {
        function = Bus.Add(One);
        Bus.Add(Other);
    }

    // ---- In order --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_closed_device_leaves_the_bus_at_once_LC_32()
    {
        var host = Host();
        await FrontAsync(host, One);

        await AskAsync<HostDone>(host, new RemoveDevice(One, "me"));

        Assert.Null(Bus.Find(One));
        Assert.Equal("it was removed", (await UntilAsync<DeviceGone>(Events, _ => true)).Why);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(One))).Errno);
        Assert.DoesNotContain(Registered.Devices, device => device.Address == One);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    [InlineData(10)]
    [InlineData(65)]
    public async Task REQ_is_signalled_once_and_once_more_for_each_10_seconds_of_waiting_LC_33_LC_34_INV_10(int seconds)
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor, "claim one");
        var request = new FakeTarget();
        await AskAsync<DeviceDone>(front, new SetTrigger(session, IrqIndex.Req, request));
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");

        for (var i = 0; i < seconds / 10; i++)
        {
            Advance(Interval);
            await NoteAsync(One, "release-requested");
        }

        Advance(TimeSpan.FromSeconds(seconds % 10));
        Assert.Equal(1 + (seconds / 10), request.Signals);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await NextAsync<HostDone>(Client);
        Assert.Equal(1 + (seconds / 10), request.Signals);
    }

    [Fact]
    public async Task Who_is_waited_for_and_how_long_is_visible_and_whether_he_listens_LC_34()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        await OpenAsync(front, TestActor, "claim one");

        Client.Send(host, new RemoveDevice(One, "me"));

        await NoteAsync(One, "release-requested");
        Advance(Interval);
        await NoteAsync(One, "release-requested");
        var status = await StatusAsync(host, One);
        Assert.Equal((DeviceState.Removing, "claim one"), (status.State, status.Holder));
        Assert.Equal("waits for claim one, who does not listen to REQ, asked 2 times in 10 s", status.Reason);
        Assert.False(Client.HasMessages);
    }

    [Fact]
    public async Task REQ_can_be_installed_while_it_is_waited_and_is_heard_from_then_on_LC_36()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");
        var request = new FakeTarget();

        await AskAsync<DeviceDone>(front, new SetTrigger(session, IrqIndex.Req, request));
        Advance(Interval);

        await NoteAsync(One, "release-requested");
        Assert.Equal(1, request.Signals);
    }

    [Fact]
    public async Task Nobody_opens_it_meanwhile_and_its_holder_goes_on_LC_32()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(host, new RemoveDevice(One, "me"));
        await StateAsync(One, DeviceState.Removing);

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, new OpenDevice("another", Client))).Errno);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(One))).Errno);
        await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));
    }

    [Fact]
    public async Task A_holder_that_dies_releases_it()
    {
        var host = Host();
        var holder = CreateTestProbe();
        await OpenAsync(await FrontAsync(host, One), holder);
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");

        Sys.Stop(holder);

        await NextAsync<HostDone>(Client);
        Assert.Null(Bus.Find(One));
    }

    [Fact]
    public async Task Force_closes_its_sessions_after_its_limit_and_not_before()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(host, new RemoveDevice(One, "me", TimeSpan.FromMinutes(1)));
        await NoteAsync(One, "release-requested");
        Advance(TimeSpan.FromSeconds(59));
        await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));

        Advance(TimeSpan.FromSeconds(1));

        await NextAsync<HostDone>(Client);
        Assert.Contains(await HistoryAsync(host, One), entry => entry.Kind == "removal-forced");
    }

    [Fact]
    public async Task A_second_who_asks_may_bring_the_force_that_the_first_did_not()
    {
        var host = Host();
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(One, "release-requested");
        var second = CreateTestProbe();
        second.Send(host, new RemoveDevice(One, "another", TimeSpan.FromSeconds(5)));
        await AskAsync<DeviceInspected>(host, new InspectDevice(One));

        Advance(TimeSpan.FromSeconds(5));

        await NextAsync<HostDone>(Client);
        await NextAsync<HostDone>(second);
    }

    [Fact]
    public async Task The_attention_button_asks_for_it_in_order()
    {
        var host = Host();
        await FrontAsync(host, One);

        Bus.Report(new RemovalRequested(One));

        await UntilAsync<DeviceGone>(Events, gone => gone.Address == One);
        Assert.Null(Bus.Find(One));
        Assert.Contains("attention button", Assert.Single(await HistoryAsync(host, One), entry => entry.Kind == "removing").Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_bus_that_hangs_in_removing_it_is_given_up_and_the_others_go_on()
    {
        using var hang = new Hang();
        Bus.OnRemove = () =>
        {
            hang.Enter();
            return VfioResult.Ok;
        };
        var host = Host();
        await FrontAsync(host, One);
        Client.Send(host, new RemoveDevice(One, "me"));
        await hang.Entered;

        await OpenAsync(await FrontAsync(host, Other), TestActor);

        await InTimeAsync<HostDone>(Client, Options.SlowCallDeadline * 2);
    }

    [Fact]
    public async Task A_device_that_hangs_while_it_is_closed_by_force_leaves_all_the_same()
    {
        var host = Host();
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Client.Send(host, new RemoveDevice(One, "me", TimeSpan.FromSeconds(1)));
        await NoteAsync(One, "release-requested");
        using var hang = Bus.HangAt(One, "write config");

        await InTimeAsync<HostDone>(Client, Options.SlowCallDeadline * 4);

        Assert.DoesNotContain(Registered.Devices, device => device.Address == One);
    }

    [Fact]
    public async Task A_request_to_the_front_of_a_device_that_is_gone_is_ENODEV()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new RemoveDevice(One, "me"));

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, new OpenDevice("another", Client))).Errno);
    }

    // ---- By surprise -----------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Pulled_out_while_open_its_holder_hears_ERR_loses_it_and_the_next_request_is_ENODEV()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor, "claim one");
        var error = new FakeTarget();
        await AskAsync<DeviceDone>(front, new SetTrigger(session, IrqIndex.Err, error));

        Bus.PullOut(One);

        Assert.Equal("it was pulled out", (await UntilAsync<DeviceGone>(Events, gone => gone.Address == One)).Why);
        Assert.Equal(1, error.Signals);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, new GetDeviceInfo(session))).Errno);
        Assert.Contains("while claim one held it", Assert.Single(await HistoryAsync(host, One), entry => entry.Kind == "pulled-out").Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("probing")]
    [InlineData("recovering")]
    [InlineData("in the ladder")]
    [InlineData("quarantined")]
    [InlineData("removing")]
    [InlineData("resetting")]
    [InlineData("being put back")]
    public async Task Pulled_out_at_any_time_it_is_gone_and_put_back_it_is_there_again(string when)
    {
        var heard = CreateTestProbe();
        var hang = when == "probing" ? Bus.HangAt(One, "read config") : new Hang();
        using var _ = hang;
        var host = when == "recovering" ? Host(drivers: At(One, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell("asked")))) : Host();
        if (when != "probing")
            await FrontAsync(host, One);
        switch (when)
        {
            case "probing":
                await hang.Entered;
                break;
            case "recovering":
                Bus.Report(One, AerSeverity.NonFatal);
                await NextAsync<string>(heard);
                break;
            case "in the ladder":
                var front = await FrontAsync(host, One);
                var session = await OpenAsync(front, TestActor);
                hang = Bus.HangAt(One, "reset");
                function.IsDead = true;
                await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));
                await hang.Entered;
                break;
            case "quarantined":
                await AskAsync<HostDone>(host, new QuarantineDevice(One, "a whim", "me"));
                break;
            case "removing":
                await OpenAsync(await FrontAsync(host, One), TestActor);
                Client.Send(host, new RemoveDevice(One, "me"));
                await NoteAsync(One, "release-requested");
                break;
            case "resetting":
                hang = Bus.HangAt(One, "reset");
                Client.Send(host, new ResetByOperator(One, null, "me"));
                await hang.Entered;
                break;
            case "being put back":
                await AskAsync<HostDone>(host, new QuarantineDevice(One, "a whim", "me"));
                hang = Bus.HangAt(One, "reset");
                Client.Send(host, new UnquarantineDevice(One, "me"));
                await hang.Entered;
                break;
        }

        Bus.PullOut(One);
        await InTimeAsync<DeviceGone>(Events, TimeSpan.FromSeconds(60), gone => gone.Address == One);
        if (when is "removing" or "resetting" or "being put back")
            await InTimeAsync<object>(Client, TimeSpan.FromSeconds(60));
        function.Before = static _ => { };
        hang.Release();
        Bus.PutBack(One);

        // What was out of service is so still: a device that flaps does not slip out of it.
        var wanted = when is "quarantined" or "being put back" ? DeviceState.Quarantined : DeviceState.Closed;
        await InTimeAsync<DeviceStatusChanged>(Events, TimeSpan.FromSeconds(60), changed => changed.Status.Address == One && changed.Status.State == wanted);
        if (wanted == DeviceState.Quarantined)
            await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Assert.False(Client.HasMessages);
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, Other)).Health);
    }

    [Fact]
    public async Task While_a_pulled_out_device_is_let_go_its_reason_is_that_it_was_pulled_out()
    {
        var host = Host();
        await OpenAsync(await FrontAsync(host, One), TestActor);

        Bus.PullOut(One);

        var told = new List<DeviceStatus>();
        await UntilAsync<object>(Events, message =>
        {
            if (message is DeviceStatusChanged { Status.State: DeviceState.Removing } changed)
                told.Add(changed.Status);
            return message is DeviceGone;
        });
        Assert.NotEmpty(told);
        Assert.All(told, static status => Assert.Equal("it was pulled out", status.Reason));
    }

    [Fact]
    public async Task An_address_that_comes_back_while_the_old_device_is_on_its_way_out_is_probed_when_that_is_gone()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        await OpenAsync(front, TestActor);
        using var hang = Bus.HangAt(One, "reset");
        Bus.PullOut(One);
        await hang.Entered;

        var back = Bus.Add(One);
        hang.Release();

        await UntilAsync<DeviceGone>(Events, gone => gone.Address == One);
        await StateAsync(One, DeviceState.Closed);
        Assert.NotEqual(front, await FrontAsync(host, One));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Assert.NotNull(back.Dma);
    }

    [Fact]
    public async Task An_address_is_free_though_the_device_that_was_there_hangs_for_ever_in_its_probe()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "a whim", "me"));
        using var hang = Bus.HangAt(One, "reset");
        Client.Send(host, new UnquarantineDevice(One, "me"));
        await hang.Entered;
        Bus.PullOut(One);
        await InTimeAsync<DeviceGone>(Events, TimeSpan.FromSeconds(60), gone => gone.Address == One);

        Bus.Add(One);

        await StateAsync(One, DeviceState.Quarantined);
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task A_device_that_flaps_is_each_time_gone_and_there_again()
    {
        var host = Host();
        await FrontAsync(host, One);

        for (var i = 0; i < 20; i++)
        {
            Bus.PullOut(One);
            Bus.PutBack(One);
        }

        await AskAsync<DeviceList>(host, ListDevices.Instance);
        await InTimeAsync<DeviceStatusChanged>(Events, TimeSpan.FromSeconds(4), changed => changed.Status is { State: DeviceState.Closed } status && status.Address == One);
        Client.Send(host, new FindDevice(One));
        while (await InTimeAsync<object>(Client, TimeSpan.FromSeconds(60)) is not DeviceFound)
            Client.Send(host, new FindDevice(One));
    }

    // ---- Devices that come -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_function_that_is_added_is_probed_and_handed_out()
    {
        var host = Host();
        await FrontAsync(host, One);

        Bus.Add(Two);

        await StateAsync(Two, DeviceState.Closed);
        await OpenAsync(await FrontAsync(host, Two), TestActor);
    }

    [Fact]
    public async Task One_that_is_dead_when_it_comes_is_out_of_service_and_not_taken_for_a_bridge()
    {
        function.IsDead = true;
        var host = Host();

        var status = await StateAsync(One, DeviceState.Quarantined);

        Assert.Contains("reads all ones", status.Reason, StringComparison.Ordinal);
        Assert.Equal(Errno.EIO, (await RefusedAsync(host, new UnquarantineDevice(One, "me"))).Errno);
        function.OnReset = method =>
        {
            function.IsDead = method != "pm";
            return VfioResult.Ok;
        };
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
    }

    [Fact]
    public async Task One_that_goes_before_its_turn_to_be_probed_has_come_is_forgotten()
    {
        using var hang = Bus.HangAt(One, "read config");
        Bus.Add(Two);
        var host = Host(Options with { ConcurrentProbes = 1 });
        await hang.Entered;

        Bus.PullOut(Two);

        await UntilAsync<DeviceGone>(Events, gone => gone.Address == Two);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(Two))).Errno);
    }
}
