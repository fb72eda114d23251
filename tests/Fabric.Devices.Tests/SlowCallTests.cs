using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Tests.Lab;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices.Tests;

/// <summary>
/// What runs on the lane, held at the hardware: the mailbox goes on meanwhile; when it does not come back it is given up, and what comes late is
/// thrown away; when it throws the device has failed. In virtual time.
/// </summary>
public sealed class SlowCallTests : CoreTest
{
    private static readonly DeviceOptions WithSriov = DeviceOptions.Default with { Core = DeviceOptions.Default.Core with { EnableSriov = true } };

    public static TheoryData<string> Calls() => [.. SlowCall.All.Select(static call => call.ToString())];

    public static TheoryData<string> CallsThatKeepTheSession() => [.. SlowCall.All.Where(static call => call.KeepsSession).Select(static call => call.ToString())];

    public static TheoryData<string> CallsOfTheHost() =>
        [.. SlowCall.All.Where(static call => call is { ByHost: true, Leaves: false }).Select(static call => call.ToString())];

    public static TheoryData<string> CallsOfTheSet() => [.. SlowCall.All.Where(static call => call.IsOfSet).Select(static call => call.ToString())];

    // ---- While it runs ---------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task While_it_runs_the_mailbox_answers(string name)
    {
        var run = await StartAsync(name);

        var state = await InspectAsync(run.Device);

        Assert.Equal(("Busy", run.Call.What), (Text(state, "phase"), Text(state, "busy with")));
        run.Hold.Release();
    }

    [Theory]
    [MemberData(nameof(CallsThatKeepTheSession))]
    public async Task What_comes_while_it_runs_waits_and_is_served_in_order(string name)
    {
        var run = await StartAsync(name);
        var client = CreateTestProbe();
        for (var i = 0; i < 20; i++)
            client.Send(run.Device.Core, new GetRegionInfo(run.Session, i % 8));
        await InspectAsync(run.Device);
        await NothingMoreAsync(client);

        run.Hold.Release();

        for (var i = 0; i < 20; i++)
            Assert.Equal(i % 8, (await NextAsync<RegionInfoRead>(client)).Info.Index);
        Assert.False(run.Device.Function.Overlapped);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task One_that_comes_back_just_in_time_is_answered_and_nothing_hangs(string name)
    {
        var run = await StartAsync(name);
        Advance(SlowDeadline - TimeSpan.FromTicks(1));
        await InspectAsync(run.Device);

        run.Hold.Release();

        if (run.Call.Leaves)
            await UntilAsync<CoreLeft>(run.Device.Supervisor, static _ => true);
        else
            Assert.True(Succeeded(await NextAsync<object>(run.Asker)));
        Advance(TimeSpan.FromTicks(1));
        await InspectAsync(run.Device);
        Assert.DoesNotContain(Drain(run.Device.Supervisor), static message => message is HardwareHung);
        await NothingMoreAsync(run.Asker);
    }

    [Theory]
    [MemberData(nameof(CallsOfTheHost))]
    public async Task An_open_or_a_reset_that_meets_a_call_of_the_host_is_EAGAIN_at_once_LC_21_IO_50(string name)
    {
        var run = await StartAsync(name);

        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(run.Device.Core, new OpenDevice("the next", Consumer))).Errno);
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(run.Device.Core, new ResetDevice(run.Session))).Errno);
        run.Hold.Release();
    }

    [Fact]
    public async Task An_open_that_meets_a_call_of_the_holder_waits()
    {
        var run = await StartAsync(SlowCall.All.First(static call => call.What == "close").ToString());
        var opened = Send(run.Device, new OpenDevice("the next", Consumer));
        await InspectAsync(run.Device);
        await NothingMoreAsync(opened);

        run.Hold.Release();

        await NextAsync<DeviceOpened>(opened);
    }

    // ---- Contention (Q-12) -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Contention_is_tried_again_where_the_policy_says_so_and_as_often_as_it_says_Q_12()
    {
        var device = await AloneAsync(options: DeviceOptions.Default with { RetryContention = new RetryPolicy(3, TimeSpan.FromMilliseconds(10), Factor: 2) });
        device.Function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else resets it.");
        var opened = Send(device, new OpenDevice("somebody", Consumer));
        foreach (var (delay, tries) in new[] { (0, 1), (10, 2), (20, 3), (40, 4) })
        {
            Advance(TimeSpan.FromMilliseconds(delay));
            await ReadyAsync(device);
            Assert.Equal(tries, device.Function.Resets);
        }

        Assert.Equal(Errno.EAGAIN, (await NextAsync<DeviceFailed>(opened)).Error.Errno);
    }

    [Fact]
    public async Task Contention_that_ends_is_not_seen_by_who_asked_Q_12()
    {
        var device = await AloneAsync(options: DeviceOptions.Default with { RetryContention = new RetryPolicy(3, TimeSpan.FromMilliseconds(10)) });
        var session = await OpenAsync(device);
        device.Function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else resets it.");
        var reset = Send(device, new ResetDevice(session));
        await ReadyAsync(device);
        await NothingMoreAsync(reset);
        device.Function.OnReset = static () => VfioResult.Ok;

        Advance(TimeSpan.FromMilliseconds(10));

        await NextAsync<DeviceDone>(reset);
    }

    [Fact]
    public async Task Without_a_policy_contention_is_told_at_once_Q_12()
    {
        var device = await AloneAsync();
        device.Function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else resets it.");

        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(device.Core, new OpenDevice("somebody", Consumer))).Errno);
        Assert.Equal(1, device.Function.Resets);
    }

    [Fact]
    public async Task Who_is_to_be_tried_again_is_answered_when_the_device_goes()
    {
        var device = await AloneAsync(options: DeviceOptions.Default with { RetryContention = new RetryPolicy(3, TimeSpan.FromMilliseconds(10)) });
        device.Function.OnReset = () => VfioResult.Fail(Errno.EAGAIN, "Somebody else resets it.");
        var opened = Send(device, new OpenDevice("somebody", Consumer));
        await ReadyAsync(device);

        Sys.Stop(device.Core);

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(opened)).Error.Errno);
    }

    // ---- Hangs -----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task One_that_does_not_come_back_is_reported_at_its_deadline_and_who_asked_is_told(string name)
    {
        var run = await StartAsync(name);

        Advance(SlowDeadline);

        Assert.Equal(new HardwareHung(run.Call.What, SlowDeadline), await UntilAsync<HardwareHung>(run.Device.Supervisor, static _ => true));
        if (!run.Call.Leaves)
            Assert.True(run.Call.GivenUp(await NextAsync<object>(run.Asker)));
        await InspectAsync(run.Device);
        await NothingMoreAsync(run.Asker);
        run.Hold.Release();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task While_it_hangs_requests_get_EIO_at_once_and_so_do_those_that_waited(string name)
    {
        var run = await StartAsync(name);
        var waited = Send(run.Device, new GetDeviceInfo(run.Session));
        Advance(SlowDeadline);

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(waited)).Error.Errno);
        Assert.Equal(Errno.EIO, (await RefusedAsync(run.Device.Core, new OpenDevice("the next", Consumer))).Errno);
        run.Hold.Release();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task What_hangs_has_no_session_no_turn_no_group_and_no_watch(string name)
    {
        var run = await HangAsync(name);

        Assert.Empty(Sessions(await InspectAsync(run.Device)));
        Assert.Equal(0, await LookAsync());
        await OpenGroupAsync(7);
        if (!run.Call.IsOfSet)
            await OpenAsync(run.Others[0]);
        run.Hold.Release();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task What_comes_back_late_is_thrown_away_and_told_once(string name)
    {
        var run = await HangAsync(name);

        run.Hold.Release();

        Assert.Equal(run.Call.What, (await UntilAsync<HangEnded>(run.Device.Supervisor, static _ => true)).Call);
        var state = await InspectAsync(run.Device);
        Assert.Equal(("Fenced", "nothing"), (Text(state, "phase"), Text(state, "busy with")));
        Assert.Empty(Drain(run.Device.Supervisor).OfType<HangEnded>());
        await NothingMoreAsync(run.Asker);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task What_throws_late_is_thrown_away_too(string name)
    {
        var run = await HangAsync(name);

        run.Hold.Release(new InvalidOperationException("late and broken"));

        await UntilAsync<HangEnded>(run.Device.Supervisor, static _ => true);
        Assert.Equal("Fenced", Text(await InspectAsync(run.Device), "phase"));
        await NothingMoreAsync(run.Asker);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task After_it_came_back_late_the_device_is_probed_anew_and_works(string name)
    {
        var run = await HangAsync(name);
        run.Hold.Release();
        await UntilAsync<HangEnded>(run.Device.Supervisor, static _ => true);
        if (run.Call.Leaves)
            return;

        foreach (var device in run.Call.IsOfSet ? run.Others.Prepend(run.Device) : [run.Device])
        {
            device.Function.OnReset = static () => VfioResult.Ok;
            device.Core.Tell(ProbeAnew.Instance, device.Supervisor);
            Assert.Equal(new CoreProbed(null, Anew: true), await UntilAsync<CoreProbed>(device.Supervisor, static _ => true));
            await AskAsync<DeviceDone>(device.Core, new CloseDevice(await OpenAsync(device)));
            Assert.Empty(device.Machine.CheckInvariants());
        }

        Assert.False(run.Device.Function.Overlapped);
    }

    [Theory]
    [MemberData(nameof(CallsOfTheSet))]
    public async Task A_hung_reset_of_the_set_takes_the_others_out_of_service_as_long_as_it_hangs(string name)
    {
        var run = await HangAsync(name);

        foreach (var other in run.Others)
        {
            Assert.Equal(run.Call.What, (await UntilAsync<HardwareHung>(other.Supervisor, static _ => true)).Call);
            Assert.Equal(Errno.EIO, (await RefusedAsync(other.Core, new OpenDevice("the next", Consumer))).Errno);
        }

        run.Hold.Release();

        foreach (var other in run.Others)
            Assert.Equal(run.Call.What, (await UntilAsync<HangEnded>(other.Supervisor, static _ => true)).Call);
    }

    [Fact]
    public async Task What_a_hung_reset_of_the_set_has_in_hand_is_not_probed_anew_before_that_is_back()
    {
        var run = await HangAsync(SlowCall.All.First(static call => call.What == "hot reset of its set").ToString());
        var other = run.Others[0];
        await UntilAsync<HardwareHung>(other.Supervisor, static _ => true);

        other.Core.Tell(ProbeAnew.Instance, other.Supervisor);

        Assert.Equal(Errno.EIO, (await UntilAsync<CoreProbed>(other.Supervisor, static _ => true)).Refused!.Value.Errno);
        run.Hold.Release();
        await UntilAsync<HangEnded>(other.Supervisor, static _ => true);
        other.Core.Tell(ProbeAnew.Instance, other.Supervisor);
        await ProbedAsync(other);
    }

    [Fact]
    public async Task When_a_device_goes_whose_reset_of_the_set_hangs_the_others_hear_of_its_end_all_the_same()
    {
        var run = await HangAsync(SlowCall.All.First(static call => call.What == "hot reset of its set").ToString());
        Watch(run.Device.Core);
        Sys.Stop(run.Device.Core);
        await ExpectTerminatedAsync(run.Device.Core, cancellationToken: Cancelled);

        run.Hold.Release();

        foreach (var other in run.Others)
            await UntilAsync<HangEnded>(other.Supervisor, static _ => true);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task What_hangs_is_not_probed_anew_before_it_is_back(string name)
    {
        var run = await HangAsync(name);

        run.Device.Core.Tell(ProbeAnew.Instance, run.Device.Supervisor);

        Assert.Equal(Errno.EIO, (await UntilAsync<CoreProbed>(run.Device.Supervisor, static _ => true)).Refused!.Value.Errno);
        run.Hold.Release();
        await UntilAsync<HangEnded>(run.Device.Supervisor, static _ => true);
    }

    [Fact]
    public async Task A_close_that_hangs_and_comes_back_late_does_not_reset_the_others()
    {
        var run = await HangAsync(SlowCall.All.First(static call => call.What == "close").ToString());
        run.Device.Function.OnReset = static () => VfioResult.Fail(Errno.EIO, "It failed.");

        run.Hold.Release();
        await UntilAsync<HangEnded>(run.Device.Supervisor, static _ => true);

        Assert.Equal(0, run.Bus.Resets);
    }

    [Fact]
    public async Task A_probe_that_hangs_is_reported_and_told_as_refused_and_a_later_one_works()
    {
        var function = new LabFunction();
        var hold = function.Traps.HoldNext(Point.ConfigRead);
        var device = Start(function, new VfioPciDevices(callersTakeTurns: true), ActorRefs.Nobody);
        await hold.Entered;
        var waits = Send(device, new OpenDevice("somebody", Consumer));
        await InspectAsync(device);

        Advance(SlowDeadline);

        Assert.Equal(Errno.EIO, (await UntilAsync<CoreProbed>(device.Supervisor, static _ => true)).Refused!.Value.Errno);
        Assert.Equal("probe", (await UntilAsync<HardwareHung>(device.Supervisor, static _ => true)).Call);
        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(waits)).Error.Errno);
        hold.Release();
        await UntilAsync<HangEnded>(device.Supervisor, static _ => true);
        device.Core.Tell(ProbeAnew.Instance, device.Supervisor);
        await ProbedAsync(device);
        await OpenAsync(device);
    }

    [Fact]
    public async Task A_probe_that_hangs_while_it_registers_keeps_no_other_device_from_registering()
    {
        var registered = new VfioPciDevices(callersTakeTurns: true);
        var function = new LabFunction(number: 1);
        // Idle, it is put to sleep: a write to PMCSR.
        var hold = function.Traps.HoldNext(Point.ConfigWrite);
        var device = Start(function, registered, ActorRefs.Nobody);
        await hold.Entered;

        await ProbedAsync(Start(new LabFunction(number: 2), registered, ActorRefs.Nobody));

        hold.Release();
        await ProbedAsync(device);
    }

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task One_that_throws_is_EIO_once_its_sessions_end_and_the_device_is_reset_and_probed_anew(string name)
    {
        var run = await StartAsync(name);
        var (waits, resets) = (Send(run.Device, new GetDeviceInfo(run.Session)), run.Device.Function.Resets);
        await InspectAsync(run.Device);

        run.Device.Function.OnReset = static () => VfioResult.Ok;
        run.Hold.Release(new InvalidOperationException("broken"));

        if (!run.Call.Leaves)
            Assert.True(run.Call.GivenUp(await NextAsync<object>(run.Asker)));
        if (run.Call.IsOpen)
            Assert.Equal(run.Session, (await UntilAsync<SessionClosed>(run.Device.Supervisor, static _ => true)).Session);
        Assert.Equal(new CoreProbed(null, Anew: true), await UntilAsync<CoreProbed>(run.Device.Supervisor, static _ => true));
        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(waits)).Error.Errno);
        Assert.True(run.Device.Function.Resets > resets);
        await AskAsync<DeviceDone>(run.Device.Core, new CloseDevice(await OpenAsync(run.Device)));
        await AskAsync<CoreDone>(run.Others[0].Core, new EndSessions("the test says so"));
        await OpenAsync(run.Others[0]);
        Assert.Empty(run.Device.Machine.CheckInvariants());
        await NothingMoreAsync(run.Asker);
    }

    [Fact]
    public async Task A_probe_that_throws_is_refused_with_what_it_threw()
    {
        var function = new LabFunction();
        function.Traps.ThrowNext(Point.ConfigRead);

        var device = Start(function, new VfioPciDevices(callersTakeTurns: true), ActorRefs.Nobody);

        var refused = (await UntilAsync<CoreProbed>(device.Supervisor, static _ => true)).Refused!.Value;
        Assert.Equal(Errno.EIO, refused.Errno);
        Assert.Contains("ConfigRead is broken", refused.Sentence);
    }

    [Theory]
    [InlineData(Point.ConfigWrite)]
    [InlineData(Point.Reset)]
    public async Task A_probe_that_throws_in_its_midst_leaves_nothing_registered_that_is_in_the_way_of_the_next(object point)
    {
        var device = await AloneAsync();
        device.Function.Traps.ThrowNext((Point)point);

        device.Core.Tell(ProbeAnew.Instance, device.Supervisor);
        Assert.NotNull((await UntilAsync<CoreProbed>(device.Supervisor, static _ => true)).Refused);
        device.Core.Tell(ProbeAnew.Instance, device.Supervisor);

        await ProbedAsync(device);
        await OpenAsync(device);
    }

    // ---- The device goes meanwhile ---------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task When_the_device_goes_while_it_runs_who_asked_is_told(string name)
    {
        var run = await StartAsync(name);

        Sys.Stop(run.Device.Core);

        if (!run.Call.Leaves && run.Call.Ask(default, ActorRefs.Nobody) is DeviceRequest)
            Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(run.Asker)).Error.Errno);
        run.Hold.Release();
    }

    [Fact]
    public async Task When_the_device_goes_while_it_runs_it_is_closed_after_and_not_beside_it()
    {
        var run = await StartAsync(SlowCall.All.First(static call => call.What == "reset").ToString());
        var closed = run.Device.Function.Traps.HoldNext(Point.ConnectDma);
        Watch(run.Device.Core);
        Sys.Stop(run.Device.Core);
        await ExpectTerminatedAsync(run.Device.Core, cancellationToken: Cancelled);

        run.Hold.Release();
        await closed.Entered;
        closed.Release();

        Assert.False(run.Device.Function.Overlapped);
    }

    [Fact]
    public async Task A_close_that_throws_when_the_device_has_gone_is_not_the_end_of_the_process()
    {
        var device = await AloneAsync();
        await OpenAsync(device);
        var closing = device.Function.Traps.HoldNext(Point.ConnectDma);
        Sys.Stop(device.Core);
        await closing.Entered;

        closing.Release(new InvalidOperationException("broken"));

        // The lane's thread is there for the next call still.
        await ProbedAsync(Start(new LabFunction(number: 3), new VfioPciDevices(callersTakeTurns: true), ActorRefs.Nobody));
    }

    // ------------------------------------------------------------------------------------------------------------------------------------

    private sealed record Running(SlowCall Call, Device Device, Device[] Others, LabBus Bus, SessionId Session, Hold Hold, TestProbe Asker);

    /// <summary>The call is under way, held at the hardware.</summary>
    private async Task<Running> StartAsync(string name)
    {
        var call = SlowCall.All.First(call => call.ToString() == name);
        var (bus, devices, _) = await SetAsync(WithSriov);
        var device = devices[0];
        if (call.ResetIsBroken)
            device.Function.OnReset = static () => VfioResult.Fail(Errno.EIO, "It failed.");
        var session = call.IsOpen ? await OpenAsync(device) : default;
        if (call.What == "hot reset")
        {
            await OpenAsync(devices[1]);
            await OpenAsync(devices[2]);
        }

        if (call.IsAsleep)
            await AskAsync<DeviceDone>(device.Core, new EnterLowPower(session, null));
        var hold = (call.Point is Point.BusReset or Point.Power ? bus.Traps : device.Function.Traps).HoldNext(call.Point);
        var asker = Send(device, call.Ask(session, Consumer));
        await hold.Entered;
        // The lane may be faster than the mailbox, which sets the deadline after it.
        await InspectAsync(device);
        return new Running(call, device, devices[1..], bus, session, hold, asker);
    }

    private async Task<Running> HangAsync(string name)
    {
        var run = await StartAsync(name);
        Advance(SlowDeadline);
        await UntilAsync<HardwareHung>(run.Device.Supervisor, static _ => true);
        if (!run.Call.Leaves)
            await NextAsync<object>(run.Asker);
        return run;
    }

    /// <summary>The lane has nothing to do, and the mailbox knows.</summary>
    private static async Task ReadyAsync(Device device)
    {
        while (Text(await InspectAsync(device), "phase") != "Ready")
            await Task.Yield();
    }

    private static bool Succeeded(object reply) => reply switch
    {
        DeviceFailed => false,
        CoreWasReset reset => reset.Outcome.IsOk,
        _ => true,
    };

    private static List<object> Drain(TestProbe probe)
    {
        var drained = new List<object>();
        while (probe.HasMessages)
            drained.Add(probe.ReceiveOne(TimeSpan.Zero, Cancelled));
        return drained;
    }
}
