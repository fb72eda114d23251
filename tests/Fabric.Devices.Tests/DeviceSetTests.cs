using Akka.Actor;
using Akka.TestKit;
using CsCheck;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>Turns at a device set: by members that the test plays, and by real cores.</summary>
public sealed class DeviceSetTests : CoreTest
{
    private static readonly TimeSpan Patience = DeviceOptions.Default.TurnDeadline / 2;

    private static readonly VfioError Busy = new(Errno.EIO, "It hangs.");

    // ---- Turns, by members that the test plays ---------------------------------------------------------------------------------------

    [Fact]
    public async Task One_member_has_its_turn_at_a_time_in_the_order_in_which_they_asked_INV_7()
    {
        var (set, members) = Play(3);
        for (var i = 0; i < 3; i++)
            members[i].Send(set, new TakeTurn(i + 1, TurnKind.Open));
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(i + 1, (await NextAsync<TurnGranted>(members[i])).Number);
            await SettledAsync(set);
            foreach (var later in members.Skip(i + 1))
                await NothingMoreAsync(later);
            members[i].Send(set, new EndTurn(i + 1, IsOpen: true));
        }
    }

    [Fact]
    public async Task Only_who_has_the_turn_ends_it()
    {
        var (set, members) = Play(2);
        members[0].Send(set, new TakeTurn(1, TurnKind.Open));
        await NextAsync<TurnGranted>(members[0]);
        members[1].Send(set, new TakeTurn(2, TurnKind.Open));

        members[1].Send(set, new EndTurn(1, IsOpen: false));
        members[0].Send(set, new EndTurn(7, IsOpen: false));

        await SettledAsync(set);
        await NothingMoreAsync(members[1]);
    }

    [Fact]
    public async Task For_a_hot_reset_every_other_member_is_lent_first_and_given_back_after()
    {
        var (set, members) = Play(3);
        members[0].Send(set, new TakeTurn(1, TurnKind.HotReset));
        await LendAsync(set, members[1]);
        await SettledAsync(set);
        await NothingMoreAsync(members[0]);
        await LendAsync(set, members[2]);
        Assert.Equal(2, (await NextAsync<TurnGranted>(members[0])).Lent.Length);
        await SettledAsync(set);
        await NothingMoreAsync(members[1]);

        members[0].Send(set, new EndTurn(1, IsOpen: true));

        await NextAsync<CoreReturned>(members[1]);
        await NextAsync<CoreReturned>(members[2]);
    }

    [Fact]
    public async Task A_member_that_cannot_be_lent_refuses_a_hot_reset_and_the_others_are_given_back()
    {
        var (set, members) = Play(3);
        members[0].Send(set, new TakeTurn(1, TurnKind.HotReset));
        await LendAsync(set, members[1]);
        members[2].Send(set, new CoreNotLent((await NextAsync<LendCore>(members[2])).Turn, Busy));

        Assert.Equal(new TurnRefused(1, Busy), await NextAsync<TurnRefused>(members[0]));
        await NextAsync<CoreReturned>(members[1]);
        await FreeAsync(set, members[1]);
    }

    [Fact]
    public async Task A_member_that_does_not_answer_in_time_refuses_a_hot_reset_and_is_given_back_when_it_does()
    {
        var (set, members) = Play(2);
        members[0].Send(set, new TakeTurn(1, TurnKind.HotReset));
        var lend = await NextAsync<LendCore>(members[1]);

        Advance(Patience);

        Assert.Equal(Errno.EBUSY, (await NextAsync<TurnRefused>(members[0])).Error.Errno);
        Lend(set, members[1], lend);
        Assert.Equal(lend.Turn, (await NextAsync<CoreReturned>(members[1])).Turn);
        await FreeAsync(set, members[0]);
    }

    [Fact]
    public async Task A_close_goes_on_without_a_member_that_does_not_answer()
    {
        var (set, members) = Play(2);
        members[0].Send(set, new TakeTurn(1, TurnKind.Close));
        await NextAsync<LendCore>(members[1]);

        Advance(Patience);

        Assert.True((await NextAsync<TurnGranted>(members[0])).Lent.IsDefault);
        members[0].Send(set, new EndTurn(1, IsOpen: false));
        await FreeAsync(set, members[1]);
    }

    [Fact]
    public async Task A_close_asks_for_nobody_while_another_is_open_LC_53()
    {
        var (set, members) = Play(2);
        members[1].Send(set, new TakeTurn(1, TurnKind.Open));
        await NextAsync<TurnGranted>(members[1]);
        members[1].Send(set, new EndTurn(1, IsOpen: true));

        members[0].Send(set, new TakeTurn(2, TurnKind.Close));

        Assert.True((await NextAsync<TurnGranted>(members[0])).Lent.IsDefault);
    }

    [Theory]
    [InlineData("waits")]
    [InlineData("has the turn")]
    [InlineData("is asked")]
    [InlineData("is lent")]
    public async Task A_member_that_dies_never_wedges_the_set(string when)
    {
        var (set, members) = Play(3);
        var (dying, other) = (members[0], members[1]);
        Watch(dying);
        if (when == "waits")
        {
            other.Send(set, new TakeTurn(1, TurnKind.Open));
            await NextAsync<TurnGranted>(other);
            dying.Send(set, new TakeTurn(2, TurnKind.Open));
            await DieAsync(set, dying);
            other.Send(set, new EndTurn(1, IsOpen: false));
        }
        else if (when == "has the turn")
        {
            dying.Send(set, new TakeTurn(1, TurnKind.HotReset));
            await LendAsync(set, members[1]);
            await LendAsync(set, members[2]);
            await NextAsync<TurnGranted>(dying);
            await DieAsync(set, dying);
            await NextAsync<CoreReturned>(members[1]);
            await NextAsync<CoreReturned>(members[2]);
        }
        else
        {
            other.Send(set, new TakeTurn(1, TurnKind.HotReset));
            if (when == "is lent")
                await LendAsync(set, dying);
            else
                await NextAsync<LendCore>(dying);
            await DieAsync(set, dying);
            await LendAsync(set, members[2]);
            // What was lent is there until the set hears of the death, and it may hear of the other loan first.
            Assert.InRange((await NextAsync<TurnGranted>(other)).Lent.Length, 1, when == "is lent" ? 2 : 1);
            other.Send(set, new EndTurn(1, IsOpen: false));
            await NextAsync<CoreReturned>(members[2]);
        }

        await FreeAsync(set, members[2]);
    }

    // ---- Real cores ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Opens_and_closes_of_a_set_never_overlap_however_they_come_INV_7() => await Gen.Int[0, 2].Array[20, 60].SampleAsync(
        async order =>
        {
            var (bus, devices, _) = await SetAsync();
            var (inside, overlapped) = (0, false);
            foreach (var device in devices)
            {
                device.Function.OnReset = () =>
                {
                    overlapped |= Interlocked.Increment(ref inside) > 1;
                    Thread.SpinWait(500);
                    Interlocked.Decrement(ref inside);
                    return VfioResult.Ok;
                };
            }

            // Each device is opened and closed by itself, all of them at once.
            await Task.WhenAll(order.GroupBy(static device => device).Select(async turns =>
            {
                foreach (var _ in turns)
                    await AskAsync<DeviceDone>(devices[turns.Key].Core, new CloseDevice(await OpenAsync(devices[turns.Key])));
            }));

            Assert.False(overlapped);
            foreach (var device in devices)
                Sys.Stop(device.Core);
        },
        iter: 20,
        threads: 1);

    [Fact]
    public async Task An_open_does_not_wait_for_ever_for_a_sibling_and_not_at_all_when_that_is_known_to_hang()
    {
        var (_, devices, _) = await SetAsync();
        var hold = devices[0].Function.Traps.HoldNext(Point.Reset);
        Send(devices[0], new OpenDevice("hangs", Consumer));
        await hold.Entered;
        await InspectAsync(devices[0]);
        var waits = Send(devices[1], new OpenDevice("waits", Consumer));
        // Its group comes first, by way of the host.
        while (Text(await InspectAsync(devices[1]), "busy with") != "its device set")
            await Task.Yield();

        Advance(DeviceOptions.Default.TurnDeadline);
        Assert.Equal(Errno.EAGAIN, (await NextAsync<DeviceFailed>(waits)).Error.Errno);

        Advance(SlowDeadline);
        await UntilAsync<HardwareHung>(devices[0].Supervisor, static _ => true);
        await OpenAsync(devices[1]);
        await OpenAsync(devices[2]);
        hold.Release();
    }

    [Fact]
    public async Task A_close_waits_for_its_turn_as_long_as_it_takes()
    {
        var (_, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[1]);
        var hold = devices[0].Function.Traps.HoldNext(Point.Reset);
        Send(devices[0], new OpenDevice("hangs", Consumer));
        await hold.Entered;
        await InspectAsync(devices[0]);
        var closing = Send(devices[1], new CloseDevice(session));
        await InspectAsync(devices[1]);

        Advance(DeviceOptions.Default.TurnDeadline);
        Advance(SlowDeadline);

        await NextAsync<DeviceDone>(closing);
        hold.Release();
    }

    [Fact]
    public async Task A_hot_reset_of_a_set_with_a_member_that_hangs_is_refused_and_says_so()
    {
        var (bus, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[1]);
        var hold = devices[0].Function.Traps.HoldNext(Point.Reset);
        devices[0].Core.Tell(new ResetCore(ResetScope.Function), devices[0].Supervisor);
        await hold.Entered;
        await InspectAsync(devices[0]);
        Advance(SlowDeadline);
        await UntilAsync<HardwareHung>(devices[0].Supervisor, static _ => true);

        var refused = await RefusedAsync(devices[1].Core, new HotResetDevice(session, []));

        Assert.Equal(Errno.EIO, refused.Errno);
        Assert.Contains("hangs in reset", refused.Sentence, StringComparison.Ordinal);
        Assert.Equal(0, bus.Resets);
        hold.Release();
    }

    [Fact]
    public async Task A_member_that_is_lent_touches_no_hardware_and_is_served_after()
    {
        var (bus, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[0]);
        var hold = bus.Traps.HoldNext(Point.BusReset);
        devices[1].Core.Tell(new ResetCore(ResetScope.DeviceSet), devices[1].Supervisor);
        await hold.Entered;
        var touch = devices[0].Function.Traps.HoldNext(Point.RegionRead);
        var reads = Send(devices[0], new ReadRegion(session, 0, 0, 4));
        Assert.Equal("Lent", Text(await InspectAsync(devices[0]), "phase"));
        Assert.False(touch.IsEntered);

        hold.Release();
        touch.Release();

        await NextAsync<RegionRead>(reads);
        Assert.True((await UntilAsync<CoreWasReset>(devices[1].Supervisor, static _ => true)).Outcome.IsOk);
        Assert.False(devices[0].Function.Overlapped);
    }

    [Fact]
    public async Task A_driver_hears_of_a_reset_of_its_set_before_what_was_asked_meanwhile_is_answered()
    {
        var (bus, devices, _) = await SetAsync();
        var driver = CreateTestProbe();
        devices[0].Core.Tell(DriverAttached.Instance, driver);
        var session = await OpenAsync(devices[0]);
        var hold = bus.Traps.HoldNext(Point.BusReset);
        devices[1].Core.Tell(new ResetCore(ResetScope.DeviceSet), devices[1].Supervisor);
        await hold.Entered;
        driver.Send(devices[0].Core, new GetDeviceInfo(session));

        hold.Release();

        Assert.True((await NextAsync<FunctionWasReset>(driver)).Outcome.IsOk);
        await NextAsync<DeviceInfoRead>(driver);
    }

    // ---- Ownership (LC-51, LC-54, IO-61) ---------------------------------------------------------------------------------------------

    [Fact]
    public async Task By_cdev_who_holds_all_of_the_set_may_hot_reset_it_LC_54()
    {
        var (bus, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[0]);
        await OpenAsync(devices[1]);
        await OpenAsync(devices[2]);

        await AskAsync<DeviceDone>(devices[0].Core, new HotResetDevice(session, []));

        Assert.Equal(1, bus.Resets);
    }

    [Fact]
    public async Task By_cdev_a_device_that_another_holds_refuses_the_hot_reset_LC_54()
    {
        var (bus, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[0]);
        await OpenAsync(devices[1]);
        await OpenAsync(devices[2], CreateTestProbe());

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(devices[0].Core, new HotResetDevice(session, []))).Errno);
        Assert.Equal(0, bus.Resets);
    }

    [Fact]
    public async Task By_cdev_a_device_that_nobody_holds_is_owned_with_its_group_alone_LC_54()
    {
        var (bus, devices, _) = await SetAsync(null, 7, 7, 9);
        var session = await OpenAsync(devices[0]);
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(devices[0].Core, new HotResetDevice(session, []))).Errno);
        await OpenAsync(devices[2]);

        await AskAsync<DeviceDone>(devices[0].Core, new HotResetDevice(session, []));

        Assert.Equal(1, bus.Resets);
    }

    [Fact]
    public async Task By_group_the_caller_shows_every_group_LC_54()
    {
        var (bus, devices, _) = await SetAsync();
        var groups = new List<GroupSessionId>();
        foreach (var number in (int[])[7, 8, 9])
            groups.Add(await OpenGroupAsync(number));
        var session = await OpenAsync(devices[0], group: groups[0]);

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(devices[0].Core, new HotResetDevice(session, [groups[0], groups[1]]))).Errno);
        await AskAsync<DeviceDone>(devices[0].Core, new HotResetDevice(session, [.. groups]));

        Assert.Equal(1, bus.Resets);
    }

    [Fact]
    public async Task By_cdev_the_info_tells_what_the_caller_holds_what_comes_with_its_group_and_what_is_anothers_IO_61()
    {
        var (_, devices, _) = await SetAsync(null, 7, 7, 9);
        var session = await OpenAsync(devices[0]);
        Assert.Equal([true, true, false], await OwnedAsync());
        await OpenAsync(devices[2]);
        Assert.Equal([true, true, true], await OwnedAsync());
        Assert.True((await AskAsync<HotResetInfoRead>(devices[0].Core, new GetHotResetInfo(session))).Info.AllOwned);

        async Task<IEnumerable<bool>> OwnedAsync() =>
            (await AskAsync<HotResetInfoRead>(devices[0].Core, new GetHotResetInfo(session))).Info.Dependents.Select(static found => found.Id >= 0);
    }

    // ---- The reset at the last close (LC-53) -----------------------------------------------------------------------------------------

    [Fact]
    public async Task The_last_close_resets_the_set_when_a_member_needs_it_LC_53()
    {
        var (bus, devices, _) = await SetAsync();
        devices[0].Function.OnReset = static () => VfioResult.Fail(Errno.EIO, "It failed.");
        var (needs, other) = (await OpenAsync(devices[0]), await OpenAsync(devices[1]));
        await AskAsync<DeviceDone>(devices[0].Core, new CloseDevice(needs));
        Assert.Equal(0, bus.Resets);

        await AskAsync<DeviceDone>(devices[1].Core, new CloseDevice(other));

        Assert.Equal((1, false), (bus.Resets, devices[0].Machine.NeedsReset));
    }

    [Fact]
    public async Task The_last_close_does_not_reset_a_set_that_does_not_need_it_LC_53()
    {
        var (bus, devices, _) = await SetAsync();

        await AskAsync<DeviceDone>(devices[0].Core, new CloseDevice(await OpenAsync(devices[0])));

        Assert.Equal(0, bus.Resets);
    }

    [Fact]
    public async Task A_member_whose_session_ended_with_a_hang_is_not_open_for_its_set_when_it_has_been_probed_anew_LC_53()
    {
        var (bus, devices, _) = await SetAsync();
        var session = await OpenAsync(devices[1]);
        var hold = devices[1].Function.Traps.HoldNext(Point.Reset);
        Send(devices[1], new ResetDevice(session));
        await hold.Entered;
        await InspectAsync(devices[1]);
        Advance(SlowDeadline);
        await UntilAsync<HardwareHung>(devices[1].Supervisor, static _ => true);
        hold.Release();
        await UntilAsync<HangEnded>(devices[1].Supervisor, static _ => true);
        devices[1].Core.Tell(ProbeAnew.Instance, devices[1].Supervisor);
        await ProbedAsync(devices[1]);
        devices[0].Function.OnReset = static () => VfioResult.Fail(Errno.EIO, "It failed.");

        await AskAsync<DeviceDone>(devices[0].Core, new CloseDevice(await OpenAsync(devices[0])));

        Assert.Equal(1, bus.Resets);
    }

    // ------------------------------------------------------------------------------------------------------------------------------------

    private (IActorRef Set, TestProbe[] Members) Play(int count)
    {
        var set = Sys.ActorOf(DeviceSetActor.Props(DeviceOptions.Default));
        var members = Enumerable.Range(0, count).Select(_ => CreateTestProbe()).ToArray();
        foreach (var member in members)
            member.Send(set, JoinSet.Instance);
        return (set, members);
    }

    private static void Lend(IActorRef set, TestProbe member, LendCore lend) =>
        member.Send(set, new CoreLent(lend.Turn, new LentMember(new PciAddress(0, 0x3b, 0, 0), null, ByGroup: false, 7)));

    private static async Task LendAsync(IActorRef set, TestProbe member) => Lend(set, member, await NextAsync<LendCore>(member));

    /// <summary>The set has handled all that it was sent: it answers a watch of its own that it is not done with before.</summary>
    private static async Task SettledAsync(IActorRef set) => await set.Ask<ActorIdentity>(new Identify(null), TimeSpan.FromSeconds(15), Cancelled);

    private async Task DieAsync(IActorRef set, TestProbe member)
    {
        await SettledAsync(set);
        Sys.Stop(member);
        await ExpectTerminatedAsync(member, cancellationToken: Cancelled);
    }

    /// <summary>The set gives turns still.</summary>
    private static async Task FreeAsync(IActorRef set, TestProbe member)
    {
        member.Send(set, new TakeTurn(99, TurnKind.Open));
        Assert.Equal(99, (await UntilAsync<TurnGranted>(member, static _ => true)).Number);
    }
}
