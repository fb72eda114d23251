using System.Collections.Concurrent;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Tests;

/// <summary>Two and three drivers in a row: each sees what comes from the front, answers go back the same way, one that fails fails alone.</summary>
public sealed class DriverStackTests : SlotTest
{
    private static readonly DeviceFailed NoSuchThing = new(Errno.ENOTTY, "The middle has no such thing.");

    private readonly ConcurrentQueue<string> log = new();
    private readonly SlotFunction function;

    public DriverStackTests()
    {
        function = Bus.Add(One, totalVfs: 2);
        Bus.Add(Other);
    }

    // ---- What each sees --------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Requests_go_from_the_front_to_the_back_and_answers_back_the_same_way(int depth)
    {
        var front = await FrontAsync(Host(drivers: Stack([.. Enumerable.Range(1, depth).Select(place => (Action<ScriptedDriver>)(own =>
        {
            own.SeeAll(request => log.Enqueue($"{place} {request.GetType().Name}"));
            own.ChangeReply<GetDeviceInfo, DeviceInfoRead>((_, read) => new DeviceInfoRead(read.Info with { Irqs = (read.Info.Irqs * 10) + place }));
        }))])), One);
        var session = await OpenAsync(front, TestActor);
        log.Clear();

        var info = (await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session))).Info;
        await AskAsync<IrqInfoRead>(front, new GetIrqInfo(session, 0));

        string[] places = [.. Enumerable.Range(1, depth).Select(static place => $"{place}")];
        Assert.Equal([.. places.Select(static place => $"{place} GetDeviceInfo"), .. places.Select(static place => $"{place} GetIrqInfo")], log);
        Assert.Equal(int.Parse($"5{string.Concat(places.Reverse())}", System.Globalization.CultureInfo.InvariantCulture), info.Irqs);
    }

    [Fact]
    public async Task What_one_takes_over_those_behind_it_do_not_see()
    {
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.SeeAll(request => log.Enqueue($"1 {request.GetType().Name}")),
            own => own.Take<DeviceIoctl>(_ => own.Answer(new DeviceIoctlDone(2, default))),
            own => own.Take<DeviceIoctl>(_ => own.Answer(new DeviceIoctlDone(3, default))))), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(2, (await AskAsync<DeviceIoctlDone>(front, new DeviceIoctl(session, 1, default))).Value);
        Assert.Equal(["1 OpenDevice", "1 DeviceIoctl"], log);
    }

    [Fact]
    public async Task Regions_of_two_drivers_lie_behind_each_other_and_each_is_its_own()
    {
        LabRegion[] regions = [new(0x10), new(0x20), new(0x30)];
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.Have(regions[2]),
            own =>
            {
                own.Have(regions[0]);
                own.Have(regions[1]);
            })), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(12, (await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session))).Info.Regions);
        for (var number = 0; number < 3; number++)
        {
            await AskAsync<RegionWritten>(front, new WriteRegion(session, 9 + number, 0, new[] { (byte)(number + 1) }));
            Assert.Equal(regions[number].Size, (await AskAsync<RegionInfoRead>(front, new GetRegionInfo(session, 9 + number))).Info.Size);
        }

        Assert.Equal([1, 2, 3], regions.Select(static region => (int)region.Bytes[0]));
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(front, new GetRegionInfo(session, 12))).Errno);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await InspectAsync(await Sys.ActorSelection("/user/host").ResolveOne(TimeSpan.FromSeconds(15), Cancelled));
        Assert.All(regions, static region => Assert.Equal(1, region.Released));
    }

    [Fact]
    public async Task Drivers_of_one_name_can_stand_in_a_row()
    {
        var host = Host(drivers: Stack(static _ => { }, static _ => { }, static _ => { }));

        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    // ---- Asking ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task One_in_the_middle_asks_the_core_for_the_question_of_the_one_in_front()
    {
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.Take<GetDeviceInfo>(info => own.Ask(info, reply => own.Answer(Plus(reply, 100)))),
            own => own.Take<GetDeviceInfo>(info => own.Ask(info, reply => own.Answer(Plus(reply, 10)))))), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(5 + 110, (await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session))).Info.Irqs);

        static DeviceInfoRead Plus(DeviceReply reply, int irqs) =>
            new(((DeviceInfoRead)reply).Info with { Irqs = ((DeviceInfoRead)reply).Info.Irqs + irqs });
    }

    [Fact]
    public async Task What_one_in_the_middle_refuses_or_answers_itself_is_the_answer_to_the_question_of_the_one_in_front()
    {
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.Take<DeviceIoctl>(ioctl => own.Ask(ioctl, own.Answer)),
            own => own.Take<DeviceIoctl>(ioctl => own.Answer(ioctl.Number == 1 ? new DeviceIoctlDone(7, default) : NoSuchThing)))), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(7, (await AskAsync<DeviceIoctlDone>(front, new DeviceIoctl(session, 1, default))).Value);
        Assert.Equal(NoSuchThing.Error, await RefusedAsync(front, new DeviceIoctl(session, 2, default)));
    }

    [Fact]
    public async Task While_the_front_asks_one_that_waits_the_session_keeps_its_order_and_others_wait()
    {
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.Take<DeviceIoctl>(ioctl => own.Ask(ioctl, own.Answer)),
            own => own.Take<DeviceIoctl>(_ => own.Wait(TimeSpan.FromSeconds(15), () => own.Answer(new DeviceIoctlDone(7, default)))))), One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(front, new DeviceIoctl(session, 1, default));
        Client.Send(front, new GetDeviceInfo(session));

        await InTimeAsync<DeviceIoctlDone>(Client, TimeSpan.FromSeconds(16));

        await NextAsync<DeviceInfoRead>(Client);
    }

    // ---- Failing ---------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public async Task One_that_fails_is_made_anew_alone_and_is_named(int which)
    {
        var made = new int[3];
        string[] names = ["first", "second", "third"];
        var host = Host(drivers: Named(names.Select((name, place) => (name, (Action<ScriptedDriver>)(own =>
        {
            Interlocked.Increment(ref made[place]);
            own.Take<DeviceIoctl>(_ => place == which, static _ => throw new InvalidOperationException("bad luck"));
        }))).ToArray()));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Assert.Equal([1, 1, 1], made);

        var refused = await RefusedAsync(front, new DeviceIoctl(session, 1, default));

        Assert.Equal(Errno.EIO, refused.Errno);
        Assert.Contains(names[which], (await NoteAsync(One, "driver-restarted")).Message, StringComparison.Ordinal);
        await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
        Assert.Equal(Enumerable.Range(0, 3).Select(place => place == which ? 2 : 1), made);
    }

    [Fact]
    public async Task One_in_the_middle_that_fails_at_the_question_of_the_front_fails_that_question_alone()
    {
        var made = 0;
        var front = await FrontAsync(Host(drivers: Stack(
            own =>
            {
                made++;
                own.Take<DeviceIoctl>(ioctl => own.Ask(ioctl, reply => own.Answer(
                    reply is DeviceFailed { Error.Errno: Errno.EIO } ? new DeviceIoctlDone(1, default) : reply)));
            },
            own => own.Take<DeviceIoctl>(static _ => throw new InvalidOperationException("bad luck")))), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(1, (await AskAsync<DeviceIoctlDone>(front, new DeviceIoctl(session, 1, default))).Value);
        Assert.Equal(1, made);
    }

    [Fact]
    public async Task One_in_the_middle_that_fails_while_it_asks_for_the_front_fails_that_question_alone()
    {
        var front = await FrontAsync(Host(drivers: Stack(
            own => own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer)),
            own => own.Take<GetDeviceInfo>(info => own.Ask(info, static _ => throw new InvalidOperationException("bad luck"))))), One);
        var session = await OpenAsync(front, TestActor);

        Assert.Equal(Errno.EIO, (await RefusedAsync(front, new GetDeviceInfo(session))).Errno);
        await AskAsync<IrqInfoRead>(front, new GetIrqInfo(session, 0));
    }

    [Fact]
    public async Task One_that_was_made_anew_is_told_of_resets_again()
    {
        var host = Host(drivers: Stack(
            static _ => { },
            own =>
            {
                own.WasReset = _ => log.Enqueue("told");
                own.Take<DeviceIoctl>(static _ => throw new InvalidOperationException("bad luck"));
            }));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        await RefusedAsync(front, new DeviceIoctl(session, 1, default));

        await AskAsync<DeviceDone>(front, new ResetDevice(session));
        await InspectAsync(host);

        Assert.Equal(["told"], log);
    }

    // ---- What all are told -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_end_of_a_session_reaches_all_of_them()
    {
        var host = Host(drivers: Three(own => session => log.Enqueue($"{own} {session}")));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);

        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await InspectAsync(host);

        Assert.Equal(["1", "2", "3"], log.Select(static line => line[..1]).Order());
        Assert.All(log, line => Assert.EndsWith($"{session}", line, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("forwarded", "123")]
    [InlineData("by the host", "123")]
    [InlineData("1 asks", "23")]
    [InlineData("2 asks", "13")]
    [InlineData("3 asks", "12")]
    public async Task A_reset_reaches_all_of_them_but_the_one_that_asked_for_it_IO_51(string how, string told)
    {
        var host = Host(drivers: Stack([.. Enumerable.Range(1, 3).Select(place => (Action<ScriptedDriver>)(own =>
        {
            own.WasReset = outcome => log.Enqueue($"{place}{outcome.IsOk}");
            own.Take<ResetDevice>(_ => how == $"{place} asks", reset => own.Ask(reset, own.Answer));
        }))]));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);

        if (how == "by the host")
            await AskAsync<HostDone>(host, new ResetByOperator(One, null, "me"));
        else
            await AskAsync<DeviceDone>(front, new ResetDevice(session));
        await InspectAsync(host);

        Assert.Equal(told.Select(static place => $"{place}True"), log.Order());
    }

    // ---- What is shown, fenced and owned ---------------------------------------------------------------------------------------------

    [Fact]
    public async Task Inspection_shows_all_of_them_from_the_front_to_the_back()
    {
        var host = Host(drivers: Stack([.. Enumerable.Range(1, 3).Select(place => (Action<ScriptedDriver>)(own =>
        {
            own.Show = () => $"{place}";
            own.Take<DeviceIoctl>(_ => own.Pass());
        }))]));
        await FrontAsync(host, One);

        var drivers = (await InspectAsync(host)).Children.Where(static part => part.Name == "driver").ToArray();

        Assert.Equal(["1", "2", "3"], drivers.Select(static driver => driver["shows"]!.Value));
        Assert.All(drivers, static driver => Assert.Equal("DeviceIoctl", driver["takes over"]!.Value));
    }

    [Fact]
    public async Task A_device_out_of_service_is_fenced_at_the_front_and_none_of_them_is_asked()
    {
        var host = Host(drivers: Stack([.. Enumerable.Range(1, 3).Select(place => (Action<ScriptedDriver>)(own =>
            own.SeeAll(request => log.Enqueue($"{place} {request.GetType().Name}"))))]));
        var front = await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        Assert.Contains("it is loud", (await RefusedAsync(front, new OpenDevice("somebody", TestActor))).Sentence, StringComparison.Ordinal);
        Assert.Empty(log);

        // Who holds one that still answers goes on; once it hangs, nobody does.
        await RefusedAsync(front, new GetDeviceInfo(default));
        Assert.Equal(["1 GetDeviceInfo", "2 GetDeviceInfo", "3 GetDeviceInfo"], log);
        log.Clear();
        var supervisor = await Sys.ActorSelection($"/user/host/device-{One}").ResolveOne(TimeSpan.FromSeconds(15), Cancelled);
        supervisor.Tell(new HardwareHung("nothing", default));
        await NoteAsync(One, "unreadable");
        Assert.Contains("it is loud", (await RefusedAsync(front, new GetDeviceInfo(default))).Sentence, StringComparison.Ordinal);
        Assert.Empty(log);

        supervisor.Tell(new HangEnded("nothing", default));
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Assert.Equal(["1 OpenDevice", "2 OpenDevice", "3 OpenDevice"], log);
    }

    [Fact]
    public async Task A_driver_owns_its_VFs_and_decides_how_many_there_are_SV_4()
    {
        var host = Host(drivers: Stack(
            own => own.SeeAll(request => log.Enqueue($"{request.GetType().Name}")),
            own => own.Take<SetVirtualFunctions>(set => own.Ask(set with { Count = Math.Min(set.Count, 1) }, own.Answer)))
            with { ConfiguresSriov = true });
        await FrontAsync(host, One);

        Assert.Single((await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"))).VirtualFunctions);

        Assert.Equal((1, "SetVirtualFunctions"), (Bus.Functions.Count(vf => vf.PhysicalFunction == One), Assert.Single(log)));
    }

    [Fact]
    public async Task A_driver_that_does_not_say_that_it_configures_VFs_does_not_have_the_core_make_any_SV_4()
    {
        var host = Host(drivers: Stack(own => own.Take<SetVirtualFunctions>(set => own.Ask(set, own.Answer))));
        await FrontAsync(host, One);

        Assert.Equal(Errno.ENOENT, (await RefusedAsync(host, new ConfigureSriov(One, 2, "me"))).Errno);
    }

    [Fact]
    public async Task A_driver_may_refuse_to_have_VFs_and_the_function_is_not_touched()
    {
        var host = Host(drivers: Stack(
            static _ => { },
            own => own.Take<SetVirtualFunctions>(_ => own.Answer(new DeviceFailed(Errno.EOPNOTSUPP, "Not while it is loud.")))));
        await FrontAsync(host, One);

        Assert.Equal("Not while it is loud.", (await RefusedAsync(host, new ConfigureSriov(One, 2, "me"))).Sentence);
        Assert.DoesNotContain("2 VFs", function.Calls);
    }

    private static async Task<InspectNode> InspectAsync(IActorRef host) => (await AskAsync<DeviceInspected>(host, new InspectDevice(One))).State;

    private static DriverRegistration Three(Func<int, Action<SessionId>> closed) =>
        Stack([.. Enumerable.Range(1, 3).Select(place => (Action<ScriptedDriver>)(own => own.Closed = closed(place)))]);

    /// <summary>The first is the front.</summary>
    private static DriverRegistration Stack(params Action<ScriptedDriver>[] scripts) =>
        Named([.. scripts.Select(static script => ("scripted", script))]);

    private static DriverRegistration Named(params (string Name, Action<ScriptedDriver> Script)[] drivers) => drivers.Reverse().Aggregate(
        default(DriverRegistration), static (behind, driver) => At(One, driver.Script) with { Name = driver.Name, Behind = behind })!;
}
