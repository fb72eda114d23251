using Akka.TestKit;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>
/// What a mailbox does on its own thread, held at the hardware: the host answers for it, what comes late is thrown away; what throws fails the
/// device. By itself, for a held call takes a thread of the pool.
/// </summary>
[Collection(nameof(ThreadPoolTests))]
public sealed class InlineCallTests : CoreTest
{
    private static readonly Dictionary<string, (Point Point, Func<SessionId, DeviceRequest> Ask)> Calls = new()
    {
        ["read of a BAR"] = (Point.RegionRead, static session => new ReadRegion(session, 0, 0, 4)),
        ["write of a BAR"] = (Point.RegionWrite, static session => new WriteRegion(session, 0, 0, new byte[4])),
        ["read of config space"] = (Point.ConfigRead, static session => new ReadRegion(session, RegionIndex.Config, PowerStatus, 4)),
        ["write of the header"] = (Point.ConfigWrite, static session => new WriteRegion(session, RegionIndex.Config, 4, new byte[] { 6, 0 })),
        ["error_detected"] = (Point.ConfigRead, static _ => new ErrorDetected(ChannelState.Frozen, AnError)),
    };

    private const ulong PowerStatus = LabFunction.PowerControl;

    public static TheoryData<string> Names() => [.. Calls.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task One_that_hangs_is_answered_by_the_host_and_told_to_the_supervisor(string call)
    {
        var (device, hold, asker, name) = await HoldAsync(call);

        Advance(CallDeadline);
        await LookAsync();

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(asker)).Error.Errno);
        Assert.Equal(new HardwareHung(name, CallDeadline), await UntilAsync<HardwareHung>(device.Supervisor, static _ => true));
        await ReleaseAsync(device, hold);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task One_that_comes_back_just_in_time_is_answered_itself(string call)
    {
        var (device, hold, asker, _) = await HoldAsync(call);
        Advance(CallDeadline - TimeSpan.FromTicks(1));
        await LookAsync();

        hold.Release();

        Assert.IsNotType<DeviceFailed>(await NextAsync<object>(asker));
        Advance(TimeSpan.FromTicks(1));
        await LookAsync();
        Assert.Equal("Ready", Text(await InspectAsync(device), "phase"));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task What_comes_back_late_is_thrown_away_and_the_device_is_out_of_service(string call)
    {
        var (device, hold, asker, _) = await HangAsync(call);

        await ReleaseAsync(device, hold);

        var state = await InspectAsync(device);
        Assert.Equal("Fenced", Text(state, "phase"));
        Assert.Empty(Sessions(state));
        Assert.Equal(0, await LookAsync());
        await NothingMoreAsync(asker);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task What_throws_late_is_thrown_away_too(string call)
    {
        var (device, hold, asker, _) = await HangAsync(call);

        await ReleaseAsync(device, hold, new InvalidOperationException("late and broken"));

        Assert.Equal("Fenced", Text(await InspectAsync(device), "phase"));
        await NothingMoreAsync(asker);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task After_it_came_back_the_device_is_probed_anew_and_works_and_its_group_is_free(string call)
    {
        var (device, hold, _, _) = await HangAsync(call);
        await ReleaseAsync(device, hold);

        device.Core.Tell(ProbeAnew.Instance, device.Supervisor);

        await ProbedAsync(device);
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(await OpenAsync(device)));
        Assert.Empty(device.Machine.CheckInvariants());
        await OpenGroupAsync(7);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task What_waited_behind_it_gets_EIO_when_it_is_back(string call)
    {
        var (device, hold, _, _) = await HangAsync(call);
        var waits = Send(device, new GetDeviceInfo(default));

        await ReleaseAsync(device, hold);

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(waits)).Error.Errno);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task One_that_throws_is_EIO_once_its_session_ends_and_the_device_is_reset_and_probed_anew(string call)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        var asker = CreateTestProbe();
        device.Function.Traps.ThrowNext(Calls[call].Point);
        asker.Send(device.Core, Calls[call].Ask(session));
        asker.Send(device.Core, new GetDeviceInfo(session));

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(asker)).Error.Errno);
        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(asker)).Error.Errno);

        Assert.Equal(
            new SessionClosed(session, "somebody", "the device failed"), await UntilAsync<SessionClosed>(device.Supervisor, static _ => true));
        Assert.True((await UntilAsync<CoreProbed>(device.Supervisor, static _ => true)).Anew);
        await OpenAsync(device);
        Assert.Equal(1, await LookAsync());
        await NothingMoreAsync(asker);
    }

    [Fact]
    public async Task The_look_after_a_dead_link_is_watched_too()
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        device.Function.ReadsAllOnes = true;
        var hold = device.Function.Traps.HoldNext(Point.ConfigRead);
        var asker = Send(device, new ReadRegion(session, 0, 0, 4));
        await hold.Entered;

        Advance(CallDeadline);
        await LookAsync();

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(asker)).Error.Errno);
        await UntilAsync<HardwareHung>(device.Supervisor, static _ => true);
        await ReleaseAsync(device, hold);
    }

    [Fact]
    public async Task An_inspection_that_hangs_in_an_idle_device_is_found()
    {
        var device = await AloneAsync();
        var hold = device.Function.Traps.HoldNext(Point.ConfigRead);
        Send(device, InspectPart.Instance);
        await hold.Entered;

        Advance(CallDeadline);
        await LookAsync();

        Assert.Equal("InspectPart", (await UntilAsync<HardwareHung>(device.Supervisor, static _ => true)).Call);
        await ReleaseAsync(device, hold);
        Assert.Equal("Fenced", Text(await InspectAsync(device), "phase"));
        Assert.Equal(0, await LookAsync());
    }

    [Fact]
    public async Task Who_asks_for_a_device_by_a_drivers_call_is_answered_with_its_number_when_it_hangs()
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        var hold = device.Function.Traps.HoldNext(Point.RegionRead);
        var asker = Send(device, new CoreCall(42, new ReadRegion(session, 0, 0, 4)));
        await hold.Entered;

        Advance(CallDeadline);
        await LookAsync();

        Assert.Equal(42, (await NextAsync<CoreReplied>(asker)).Number);
        await ReleaseAsync(device, hold);
    }

    [Fact]
    public async Task Devices_that_hang_in_their_registers_keep_no_other_waiting()
    {
        var holds = new List<(Device Device, Hold Hold)>();
        for (var i = 0; i < 4; i++)
        {
            var sick = await AloneAsync(new LabFunction(i % 8));
            var session = await OpenAsync(sick, group: null);
            await AskAsync<DeviceInfoRead>(sick.Core, new GetDeviceInfo(session));
            holds.Add((sick, sick.Function.Traps.HoldNext(Point.RegionRead)));
            Send(sick, new ReadRegion(session, 0, 0, 4));
            await holds[^1].Hold.Entered;
        }

        Advance(CallDeadline);
        await LookAsync();

        var well = await AloneAsync(new LabFunction(5));
        await AskAsync<RegionRead>(well.Core, new ReadRegion(await OpenAsync(well), 0, 0, 4));
        foreach (var (sick, hold) in holds)
            await ReleaseAsync(sick, hold);
    }

    [Fact]
    public async Task A_closed_device_is_not_watched_and_an_open_one_once()
    {
        var device = await AloneAsync();
        Assert.Equal(0, await LookAsync());
        var session = await OpenAsync(device);
        Assert.Equal(1, await LookAsync());
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(session));

        Assert.Equal(0, await LookAsync());
    }

    private async Task<(Device Device, Hold Hold, TestProbe Asker, string Name)> HoldAsync(string call)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        var hold = device.Function.Traps.HoldNext(Calls[call].Point);
        var request = Calls[call].Ask(session);
        var asker = Send(device, request);
        await hold.Entered;
        return (device, hold, asker, request.GetType().Name);
    }

    private async Task<(Device Device, Hold Hold, TestProbe Asker, string Name)> HangAsync(string call)
    {
        var held = await HoldAsync(call);
        Advance(CallDeadline);
        await LookAsync();
        await NextAsync<DeviceFailed>(held.Asker);
        return held;
    }

    private static async Task ReleaseAsync(Device device, Hold hold, Exception? failure = null)
    {
        hold.Release(failure);
        await UntilAsync<HangEnded>(device.Supervisor, static _ => true);
    }
}
