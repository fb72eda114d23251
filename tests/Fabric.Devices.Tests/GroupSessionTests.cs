using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Tests.Lab;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>Sessions as file descriptors: by group and by cdev, whose lives they have, and what excludes what.</summary>
public sealed class GroupSessionTests : CoreTest
{
    [Fact]
    public async Task By_a_group_a_device_is_opened_more_than_once_and_only_the_first_opens_it_LC_12()
    {
        var device = await AloneAsync();
        var group = await OpenGroupAsync(7);

        var first = await OpenAsync(device, group: group);
        var second = await OpenAsync(device, group: group);

        Assert.NotEqual(first, second);
        Assert.Equal(1, device.Function.Resets);
    }

    [Fact]
    public async Task By_a_group_only_the_last_close_closes_the_device_LC_12()
    {
        var device = await AloneAsync();
        var group = await OpenGroupAsync(7);
        var (first, second) = (await OpenAsync(device, group: group), await OpenAsync(device, group: group));

        await AskAsync<DeviceDone>(device.Core, new CloseDevice(first));
        Assert.Equal((true, 1), (device.Machine.IsOpen, device.Function.Resets));
        await AskAsync<DeviceInfoRead>(device.Core, new GetDeviceInfo(second));

        await AskAsync<DeviceDone>(device.Core, new CloseDevice(second));
        Assert.Equal((false, 2), (device.Machine.IsOpen, device.Function.Resets));
    }

    [Fact]
    public async Task A_session_of_a_group_that_is_closed_is_stale_while_others_live()
    {
        var device = await AloneAsync();
        var group = await OpenGroupAsync(7);
        var (first, _) = (await OpenAsync(device, group: group), await OpenAsync(device, group: group));
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(first));

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(device.Core, new GetDeviceInfo(first))).Errno);
    }

    [Fact]
    public async Task By_its_cdev_a_device_is_opened_once_and_who_comes_next_is_told_who_has_it()
    {
        var device = await AloneAsync();
        await OpenAsync(device);

        var refused = await RefusedAsync(device.Core, new OpenDevice("the next", Consumer));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("somebody", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_open_by_its_cdev_is_EBUSY_for_a_group_session_LC_13()
    {
        var device = await AloneAsync();
        await OpenAsync(device);

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(device.Core, new OpenDevice("by group", Consumer, Group: new GroupSessionId(7, 1)))).Errno);
    }

    [Fact]
    public async Task A_device_open_by_its_group_is_EBUSY_for_its_cdev_LC_13()
    {
        var device = await AloneAsync();
        await OpenAsync(device, group: await OpenGroupAsync(7));

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(device.Core, new OpenDevice("by cdev", Consumer))).Errno);
    }

    [Fact]
    public async Task A_closed_device_of_an_open_group_is_EBUSY_for_its_cdev_and_the_holder_is_named_LC_13()
    {
        var device = await AloneAsync();
        await OpenGroupAsync(7, holder: "claim one");

        var refused = await RefusedAsync(device.Core, new OpenDevice("by cdev", Consumer));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("claim one", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_group_with_a_device_open_by_its_cdev_is_not_opened_and_the_device_is_named_LC_13_INV_4()
    {
        var device = await AloneAsync();
        await OpenAsync(device);

        var refused = await RefusedAsync(Host, new OpenGroup(7, "the group's holder", Consumer));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("0000:3b:00.2", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_group_is_free_when_the_cdev_of_its_device_is_closed_INV_4()
    {
        var device = await AloneAsync();
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(await OpenAsync(device)));

        await OpenGroupAsync(7);
    }

    [Fact]
    public async Task A_group_is_opened_once()
    {
        await OpenGroupAsync(7, holder: "claim one");

        var refused = await RefusedAsync(Host, new OpenGroup(7, "claim two", Consumer));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("claim one", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_group_with_a_device_open_by_it_is_not_closed()
    {
        var device = await AloneAsync();
        var group = await OpenGroupAsync(7);
        var session = await OpenAsync(device, group: group);

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(Host, new CloseGroup(group))).Errno);

        await AskAsync<DeviceDone>(device.Core, new CloseDevice(session));
        await AskAsync<DeviceDone>(Host, new CloseGroup(group));
    }

    [Fact]
    public async Task A_group_that_is_closed_is_closed()
    {
        var group = await OpenGroupAsync(7);
        await AskAsync<DeviceDone>(Host, new CloseGroup(group));

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(Host, new CloseGroup(group))).Errno);
    }

    [Fact]
    public async Task A_device_is_not_opened_by_a_group_session_that_is_closed()
    {
        var device = await AloneAsync();
        var group = await OpenGroupAsync(7);
        await AskAsync<DeviceDone>(Host, new CloseGroup(group));

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(device.Core, new OpenDevice("late", Consumer, Group: group))).Errno);
        Assert.False(device.Machine.IsOpen);
    }

    [Fact]
    public async Task A_device_is_not_opened_by_another_group()
    {
        var device = await AloneAsync();
        var other = await OpenGroupAsync(8);

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(device.Core, new OpenDevice("astray", Consumer, Group: other))).Errno);
    }

    [Fact]
    public async Task A_function_without_a_group_is_not_opened_by_one()
    {
        var function = new LabFunction(group: null);
        var device = await AloneAsync(function, DeviceOptions.Default with { Core = DeviceOptions.Default.Core with { AllowNoIommu = true } });

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(device.Core, new OpenDevice("astray", Consumer, Group: new GroupSessionId(7, 1)))).Errno);
    }

    [Fact]
    public async Task When_the_holder_of_a_group_dies_its_devices_live_on_by_their_own_consumers()
    {
        var device = await AloneAsync();
        var holder = CreateTestProbe();
        var session = await OpenAsync(device, group: await OpenGroupAsync(7, holder));

        await StopAsync(holder);

        await AskAsync<DeviceInfoRead>(device.Core, new GetDeviceInfo(session));
        Assert.Equal(Errno.EBUSY, (await RefusedAsync(Host, new OpenGroup(7, "the next", Consumer))).Errno);
    }

    [Fact]
    public async Task When_the_holder_of_a_group_has_died_nothing_more_is_opened_by_it()
    {
        var device = await AloneAsync();
        var holder = CreateTestProbe();
        var group = await OpenGroupAsync(7, holder);
        await OpenAsync(device, group: group);

        await StopAsync(holder);

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(device.Core, new OpenDevice("late", Consumer, Group: group))).Errno);
    }

    [Fact]
    public async Task A_group_whose_holder_died_is_free_when_its_devices_are_closed()
    {
        var device = await AloneAsync();
        var holder = CreateTestProbe();
        var session = await OpenAsync(device, group: await OpenGroupAsync(7, holder));
        await StopAsync(holder);
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(session));

        await OpenGroupAsync(7);
    }

    [Fact]
    public async Task A_refused_second_open_leaves_the_first_in_its_group()
    {
        var device = await AloneAsync();
        var holder = CreateTestProbe();
        var group = await OpenGroupAsync(7, holder);
        await OpenAsync(device, group: group);
        await StopAsync(holder);
        await RefusedAsync(device.Core, new OpenDevice("late", Consumer, Group: group));

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(Host, new OpenGroup(7, "the next", Consumer))).Errno);
    }

    // ---- Lives -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_death_of_a_consumer_closes_all_of_its_sessions_and_no_other()
    {
        var device = await AloneAsync();
        var (group, dying) = (await OpenGroupAsync(7), CreateTestProbe());
        await OpenAsync(device, dying, group);
        var kept = await OpenAsync(device, Consumer, group);
        await OpenAsync(device, dying, group);

        Sys.Stop(dying);

        await UntilAsync<SessionClosed>(device.Supervisor, static closed => closed.Why == "its holder died");
        await UntilAsync<SessionClosed>(device.Supervisor, static closed => closed.Why == "its holder died");
        Assert.Equal(kept.ToString(), Assert.Single(Sessions(await InspectAsync(device))).Name);
    }

    [Fact]
    public async Task The_death_of_the_last_consumer_closes_the_device_and_leaves_the_group()
    {
        var device = await AloneAsync();
        var (group, dying) = (await OpenGroupAsync(7), CreateTestProbe());
        await OpenAsync(device, dying, group);
        await OpenAsync(device, dying, group);

        Sys.Stop(dying);

        await UntilAsync<SessionClosed>(device.Supervisor, static _ => true);
        await UntilAsync<SessionClosed>(device.Supervisor, static _ => true);
        Assert.False(device.Machine.IsOpen);
        await InspectAsync(device);
        await AskAsync<DeviceDone>(Host, new CloseGroup(group));
    }

    [Fact]
    public async Task A_consumer_that_dies_while_the_device_is_busy_is_closed_after()
    {
        var device = await AloneAsync();
        var dying = CreateTestProbe();
        var session = await OpenAsync(device, dying);
        var hold = device.Function.Traps.HoldNext(Point.Reset);
        var reset = Send(device, new ResetDevice(session));
        await hold.Entered;
        await StopAsync(dying);

        hold.Release();

        await NextAsync<DeviceDone>(reset);
        await UntilAsync<SessionClosed>(device.Supervisor, static closed => closed.Why == "its holder died");
    }

    [Fact]
    public async Task A_consumer_that_dies_while_its_device_is_being_opened_is_closed_when_it_is_open()
    {
        var device = await AloneAsync();
        var dying = CreateTestProbe();
        var hold = device.Function.Traps.HoldNext(Point.Reset);
        var opened = Send(device, new OpenDevice("dying", dying));
        await hold.Entered;
        await StopAsync(dying);

        hold.Release();

        await NextAsync<DeviceOpened>(opened);
        await UntilAsync<SessionClosed>(device.Supervisor, static closed => closed.Why == "its holder died");
        Assert.False(device.Machine.IsOpen);
    }

    [Fact]
    public async Task A_consumer_that_dies_while_its_device_is_lent_is_closed_when_it_is_given_back()
    {
        var (bus, devices, _) = await SetAsync();
        var dying = CreateTestProbe();
        await OpenAsync(devices[0], dying);
        var hold = bus.Traps.HoldNext(Point.BusReset);
        devices[1].Core.Tell(new ResetCore(ResetScope.DeviceSet), devices[1].Supervisor);
        await hold.Entered;
        await StopAsync(dying);
        Assert.Single(Sessions(await InspectAsync(devices[0])));

        hold.Release();

        await UntilAsync<SessionClosed>(devices[0].Supervisor, static closed => closed.Why == "its holder died");
    }

    [Fact]
    public async Task A_consumer_that_dies_while_its_device_waits_for_its_set_is_closed_when_it_is_open()
    {
        var (_, devices, _) = await SetAsync();
        var dying = CreateTestProbe();
        var hold = devices[1].Function.Traps.HoldNext(Point.Reset);
        Send(devices[1], new OpenDevice("slow", Consumer));
        await hold.Entered;
        var opened = Send(devices[0], new OpenDevice("dying", dying));
        await StopAsync(dying);

        hold.Release();

        await NextAsync<DeviceOpened>(opened);
        await UntilAsync<SessionClosed>(devices[0].Supervisor, static closed => closed.Why == "its holder died");
    }

    // ---- Late answers of the group ---------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_group_admits_too_late_is_given_back_and_does_not_undo_the_open_that_followed_INV_4()
    {
        var group = CreateTestProbe();
        var function = new LabFunction();
        var supervisor = CreateTestProbe();
        var core = supervisor.ChildActorOf(VfioPciCoreActor.Props(new CoreContext(
            function, new Vfio.Core.VfioPciDevices(callersTakeTurns: true), "vfio-pci", DeviceOptions.Default, Threads, Time, new CoreSlot(100),
            group, ActorRefs.Nobody)), Cancelled);
        var real = Sys.ActorOf(IommuGroupActor.Props(7));
        var late = CreateTestProbe();
        core.Tell(new OpenDevice("late", Consumer), late);
        var first = await NextAsync<AdmitToGroup>(group);
        Advance(DeviceOptions.Default.TurnDeadline);
        Assert.Equal(Errno.EAGAIN, (await NextAsync<DeviceFailed>(late)).Error.Errno);
        var opened = CreateTestProbe();
        core.Tell(new OpenDevice("in time", Consumer), opened);
        var second = await NextAsync<AdmitToGroup>(group);

        // The group wakes up, and has both of them.
        real.Tell(first, core);
        real.Tell(second, core);
        await NextAsync<DeviceOpened>(opened);
        real.Tell(await UntilAsync<LeaveGroup>(group, _ => true));

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(real, new OpenGroup(7, "another", Consumer))).Errno);
    }

    [Fact]
    public async Task A_core_that_is_stopped_while_it_waits_for_its_group_leaves_it()
    {
        var group = CreateTestProbe();
        var core = CreateTestProbe().ChildActorOf(VfioPciCoreActor.Props(new CoreContext(
            new LabFunction(), new Vfio.Core.VfioPciDevices(callersTakeTurns: true), "vfio-pci", DeviceOptions.Default, Threads, Time,
            new CoreSlot(100), group, ActorRefs.Nobody)), Cancelled);
        var asker = CreateTestProbe();
        core.Tell(new OpenDevice("waits", Consumer), asker);
        var admit = await NextAsync<AdmitToGroup>(group);

        Sys.Stop(core);

        Assert.Equal(admit.Number, (await NextAsync<LeaveGroup>(group)).Number);
        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(asker)).Error.Errno);
    }

    private async Task StopAsync(TestProbe probe)
    {
        Watch(probe);
        Sys.Stop(probe);
        await ExpectTerminatedAsync(probe, cancellationToken: Cancelled);
    }
}
