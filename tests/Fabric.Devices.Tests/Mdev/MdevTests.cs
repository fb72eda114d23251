using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Devices.Mdev;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Mdev;

/// <summary>The lifecycle of mediated devices on a host, in virtual time.</summary>
public sealed class MdevTests : DeviceTest
{
    private static readonly Guid One = new("00000000-0000-4000-8000-000000000001");
    private static readonly Guid Two = new("00000000-0000-4000-8000-000000000002");
    private static readonly Guid Three = new("00000000-0000-4000-8000-000000000003");

    private readonly FakeParent parent = new();
    private readonly FakeParent other = new("press");
    private readonly TestProbe client;
    private MdevBus bus = null!;

    public MdevTests() => client = CreateTestProbe();

    // ---- What is defined -------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Each_type_of_each_parent_says_how_many_more_there_could_be()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);

        var types = (await AskAsync<MdevTypesListed>(host, ListMdevTypes.Instance)).Types;

        Assert.Equal(
            [("cutter", "cutter-half", 3), ("cutter", "cutter-whole", 1), ("press", "press-half", 4), ("press", "press-whole", 2)],
            types.Select(type => (type.Parent, type.Type.Id, type.Type.AvailableInstances)));
    }

    [Fact]
    public async Task A_definition_is_acknowledged_when_it_is_on_disk_and_makes_nothing()
    {
        var store = new FakeStore();
        store.Open.Reset();
        var host = Host(store);
        client.Send(host, new DefineMdev(One, parent.Name, parent.Half, AutoStart: true, "me"));
        Assert.Equal((MdevState.Defining, "its definition has been on its way to disk for 0 s"), Seen(await MdevAsync(host, One)));
        Assert.False(client.HasMessages);

        store.Open.Set();

        var defined = (await NextAsync<MdevChanged>(client)).Mdev;
        Assert.Equal(new MdevStatus(new MdevDefinition(One, parent.Name, parent.Half, true), MdevState.Stopped, null, null), defined);
        Assert.Single(store.Kept);
        Assert.Empty(parent.Made);
    }

    [Fact]
    public async Task What_cannot_be_written_is_not_defined()
    {
        var store = new FakeStore { Full = VfioResult.Fail(Errno.EIO, "No space left on device.") };
        var host = Host(store);

        Assert.Equal(store.Full.Error, await RefusedAsync(host, Define(One)));

        Assert.Empty((await AskAsync<MdevsListed>(host, ListMdevs.Instance)).Mdevs);
        store.Full = VfioResult.Ok;
        await AskAsync<MdevChanged>(host, Define(One));
    }

    [Fact]
    public async Task What_cannot_be_deleted_stays_defined()
    {
        var store = new FakeStore();
        var host = Host(store);
        await AskAsync<MdevChanged>(host, Define(One));
        store.Full = VfioResult.Fail(Errno.EIO, "The disk is read-only.");

        Assert.Equal(store.Full.Error, await RefusedAsync(host, new UndefineMdev(One, "me")));

        Assert.Equal(MdevState.Stopped, (await MdevAsync(host, One)).State);
    }

    [Fact]
    public async Task Undefined_it_is_forgotten()
    {
        var store = new FakeStore();
        var host = Host(store);
        await AskAsync<MdevChanged>(host, Define(One));

        await AskAsync<MdevChanged>(host, new UndefineMdev(One, "me"));

        Assert.Empty(store.Kept);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new StartMdev(One, "me"))).Errno);
    }

    [Fact]
    public async Task What_does_not_go_with_what_there_is_says_what_there_is()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);
        await AskAsync<MdevChanged>(host, Define(Two));

        Assert.Equal(
            new VfioError(Errno.ENODEV, "This host has no mdev parent 'mill'; it has cutter, press."),
            await RefusedAsync(host, new DefineMdev(Three, "mill", "mill-1", false, "me")));
        Assert.Equal(
            new VfioError(Errno.EINVAL, "cutter has no type 'press-half'; it has cutter-half, cutter-whole."),
            await RefusedAsync(host, new DefineMdev(Three, parent.Name, other.Half, false, "me")));
        Assert.Equal(new VfioError(Errno.EEXIST, $"mdev {One} is defined already, as cutter-half of cutter."), await RefusedAsync(host, Define(One)));
        Assert.Equal(
            new VfioError(Errno.ENODEV, $"This host defines no mdev {Three}; list them with 'fabric mdev list'."),
            await RefusedAsync(host, new StopMdev(Three, "me")));
        Assert.Equal(new VfioError(Errno.EEXIST, $"mdev {One} is started, at {Address(One)}."), await RefusedAsync(host, new StartMdev(One, "me")));
        Assert.Equal(
            new VfioError(Errno.EBUSY, $"mdev {One} is started, at {Address(One)}; stop it first."),
            await RefusedAsync(host, new UndefineMdev(One, "me")));
        Assert.Equal(new VfioError(Errno.EINVAL, $"mdev {Two} is not started."), await RefusedAsync(host, new StopMdev(Two, "me")));
    }

    [Fact]
    public async Task A_host_without_parents_has_nothing_to_list_and_nothing_to_define()
    {
        var host = ActorOf(HostActor.Props(new HostOptions(new FakeBus(), new DriverCatalog(), [], _ => null, Time)));

        Assert.Empty((await AskAsync<MdevTypesListed>(host, ListMdevTypes.Instance)).Types);
        Assert.Empty((await AskAsync<MdevsListed>(host, ListMdevs.Instance)).Mdevs);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, Define(One))).Errno);
    }

    // ---- Devices come ----------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Started_it_is_a_device_as_any_other_and_shows_its_UUID()
    {
        var host = Host(driver: Scripted(_ => { }));

        var started = await StartedAsync(host, One, parent.Half);

        Assert.Equal((MdevState.Started, Address(One), null), (started.State, started.Address, started.Reason));
        var found = await AskAsync<DeviceFound>(host, new FindDevice(Address(One)));
        Assert.Equal((One, "scripted", DeviceState.Closed), (found.Status.MdevUuid, found.Status.Driver, found.Status.State));
        var session = await OpenAsync(found.Front, TestActor);
        Assert.Equal(4, (await AskAsync<RegionRead>(found.Front, new ReadRegion(session, 0, 0, 4))).Data.Length);
        await AskAsync<DeviceDone>(found.Front, new CloseDevice(session));
    }

    [Fact]
    public async Task It_is_started_when_it_is_probed_and_not_before()
    {
        var slow = new LabFunction(0, group: 1);
        var probe = slow.Traps.HoldNext(Point.ConfigRead);
        var host = Host(new FakeStore(), new LabBus(together: false, slow), DeviceOptions.Default with { ConcurrentProbes = 1 });
        await probe.Entered;
        await AskAsync<MdevChanged>(host, Define(One));
        client.Send(host, new StartMdev(One, "me"));

        Assert.Equal(MdevState.Starting, (await UntilListedAsync(host, listed => listed.Mdevs[0].Address is not null)).Mdevs[0].State);
        Assert.False(client.HasMessages);
        probe.Release();

        Assert.Equal(MdevState.Started, (await NextAsync<MdevChanged>(client)).Mdev.State);
    }

    [Fact]
    public async Task Other_devices_have_no_UUID()
    {
        var host = Host(functions: new FakeFunction());
        await StartedAsync(host, One, parent.Half);

        var listed = (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices;

        Assert.Equal([null, One], listed.Select(device => device.MdevUuid));
    }

    [Fact]
    public async Task Its_history_says_who_had_it_made()
    {
        var told = CreateTestProbe();
        Sys.EventStream.Subscribe(told, typeof(DeviceNoted));
        var host = Host();

        await StartedAsync(host, One, parent.Half);

        var noted = await UntilAsync<DeviceNoted>(told, noted => noted.Entry.Kind == "created");
        Assert.Equal((Address(One), $"mdev {One}, cutter-half of cutter, asked for by me"), (noted.Address, noted.Entry.Message));
    }

    [Fact]
    public async Task At_the_start_of_the_host_those_are_made_that_are_to_be()
    {
        var host = Host(new FakeStore(Auto(One, parent), Auto(Two, parent) with { AutoStart = false }, Auto(Three, other)));

        await StateAsync(host, One, MdevState.Started);
        await StateAsync(host, Three, MdevState.Started);

        Assert.Equal(MdevState.Stopped, (await MdevAsync(host, Two)).State);
        Assert.Equal([One], parent.Made);
        var devices = (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices;
        Assert.Equal([Address(One), Address(Three)], devices.Select(device => device.Address).Order());
    }

    [Fact]
    public async Task One_that_finds_no_room_at_the_start_says_so_and_the_others_are_made()
    {
        var host = Host(new FakeStore(
            Auto(One, parent) with { Type = parent.Whole }, Auto(Two, parent) with { Type = parent.Whole }, Auto(Three, parent),
            Auto(Guid.NewGuid(), other)));

        await StateAsync(host, One, MdevState.Started);
        await StateAsync(host, Two, MdevState.Started);
        var third = await StateAsync(host, Three, MdevState.Stopped);

        Assert.Equal("it could not be started: ENOSPC: cutter-half takes 1, and 0 are left.", third.Reason);
        await UntilListedAsync(host, listed => listed.Mdevs.Count(mdev => mdev.State == MdevState.Started) == 3);
    }

    [Fact]
    public async Task One_for_which_there_is_no_room_is_ENOSPC_and_can_be_started_when_there_is()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Whole);
        await StartedAsync(host, Two, parent.Half);
        await AskAsync<MdevChanged>(host, Define(Three, parent.Whole));

        Assert.Equal(new VfioError(Errno.ENOSPC, "cutter-whole takes 2, and 1 are left."), await RefusedAsync(host, new StartMdev(Three, "me")));
        await AskAsync<MdevChanged>(host, new StopMdev(One, "me"));

        Assert.Equal(MdevState.Started, (await AskAsync<MdevChanged>(host, new StartMdev(Three, "me"))).Mdev.State);
    }

    [Fact]
    public async Task A_parent_that_throws_is_EIO_and_harms_nobody()
    {
        var host = Host();
        await AskAsync<MdevChanged>(host, Define(One));
        parent.Throws = true;

        Assert.Equal(new VfioError(Errno.EIO, "cutter failed: the blade broke."), await RefusedAsync(host, new StartMdev(One, "me")));

        parent.Throws = false;
        await AskAsync<MdevChanged>(host, new StartMdev(One, "me"));
    }

    [Fact]
    public async Task A_parent_that_hangs_is_seen_to_and_all_else_goes_on()
    {
        var host = Host(functions: new FakeFunction());
        await AskAsync<MdevChanged>(host, Define(One));
        parent.Open.Reset();
        client.Send(host, new StartMdev(One, "me"));
        await StateAsync(host, One, MdevState.Starting);
        Time.Advance(TimeSpan.FromSeconds(7));

        Assert.Equal((MdevState.Starting, "cutter has been making it for 7 s"), Seen(await MdevAsync(host, One)));
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new StartMdev(One, "me"))).Errno);
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new StopMdev(One, "me"))).Errno);
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new UndefineMdev(One, "me"))).Errno);
        await StartedAsync(host, Two, other.Half, other);
        await AskAsync<DeviceFound>(host, new FindDevice(new FakeFunction().Address));
        Assert.False(client.HasMessages);

        parent.Open.Set();

        Assert.Equal(MdevState.Started, (await NextAsync<MdevChanged>(client)).Mdev.State);
    }

    // ---- Devices go ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Stopped_it_is_gone_and_its_part_is_its_parents_again()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);

        var stopped = (await AskAsync<MdevChanged>(host, new StopMdev(One, "me"))).Mdev;

        Assert.Equal((MdevState.Stopped, null, null), (stopped.State, stopped.Address, stopped.Reason));
        Assert.Empty(parent.Made);
        Assert.Empty(bus.Functions);
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(Address(One)))).Errno);
    }

    [Fact]
    public async Task Started_again_it_is_where_it_was()
    {
        var host = Host();
        for (var i = 0; i < 3; i++)
        {
            var started = i == 0 ? await StartedAsync(host, One, parent.Half) : (await AskAsync<MdevChanged>(host, new StartMdev(One, "me"))).Mdev;
            Assert.Equal(Address(One), started.Address);
            Assert.Equal(DeviceState.Closed, (await AskAsync<DeviceFound>(host, new FindDevice(Address(One)))).Status.State);
            await AskAsync<MdevChanged>(host, new StopMdev(One, "me"));
        }
    }

    [Fact]
    public async Task One_that_is_held_is_asked_for_and_who_is_waited_for_is_seen()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(Address(One)))).Front;
        var session = await OpenAsync(front, TestActor, "a machine");

        client.Send(host, new StopMdev(One, "me"));

        var waiting = await UntilListedAsync(host, listed => listed.Mdevs[0].Reason is not null);
        Assert.Equal((MdevState.Stopping, "waits for a machine, who does not listen to REQ, asked 1 times in 0 s"), Seen(waiting.Mdevs[0]));
        Assert.Equal(Errno.EBUSY, (await RefusedAsync(host, new UndefineMdev(One, "me"))).Errno);
        Assert.Equal(Errno.EEXIST, (await RefusedAsync(host, new StartMdev(One, "me"))).Errno);
        Assert.Equal([One], parent.Made);
        Assert.False(client.HasMessages);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        Assert.Equal(MdevState.Stopped, (await NextAsync<MdevChanged>(client)).Mdev.State);
        Assert.Empty(parent.Made);
    }

    [Fact]
    public async Task Who_asks_again_may_do_it_with_force_and_both_are_answered()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(Address(One)))).Front;
        await OpenAsync(front, TestActor, "a machine");
        client.Send(host, new StopMdev(One, "me"));
        await UntilListedAsync(host, listed => listed.Mdevs[0].Reason is not null);
        client.Send(host, new StopMdev(One, "me", TimeSpan.FromSeconds(20)));
        // What the host has been told is done, it has told the device.
        await RefusedAsync(host, new UndefineMdev(One, "me"));
        await AskAsync<DeviceInspected>(host, new InspectDevice(Address(One)));

        Timers.Advance(TimeSpan.FromSeconds(20));

        Assert.Equal(MdevState.Stopped, (await NextAsync<MdevChanged>(client)).Mdev.State);
        Assert.Equal(MdevState.Stopped, (await NextAsync<MdevChanged>(client)).Mdev.State);
    }

    [Fact]
    public async Task Removed_as_any_device_can_be_it_is_stopped()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);

        await AskAsync<HostDone>(host, new RemoveDevice(Address(One), "me"));

        await StateAsync(host, One, MdevState.Stopped);
        Assert.Empty(parent.Made);
        await AskAsync<MdevChanged>(host, new StartMdev(One, "me"));
    }

    [Fact]
    public async Task A_parent_that_does_not_take_it_back_is_named()
    {
        var host = Host();
        await StartedAsync(host, One, parent.Half);
        parent.Sick = VfioResult.Fail(Errno.EIO, "It is stuck.");

        var stopped = (await AskAsync<MdevChanged>(host, new StopMdev(One, "me"))).Mdev;

        Assert.Equal((MdevState.Stopped, "cutter has not taken it back; restart the host to start it again"), Seen(stopped));
        Assert.Equal(Errno.EEXIST, (await RefusedAsync(host, new StartMdev(One, "me"))).Errno);
    }

    // ---- What is found at the start --------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_cannot_be_used_is_named_and_left_alone_and_the_others_are_made()
    {
        var store = new FakeStore(
            new MdevDefinition(One, "mill", "mill-1", true), Auto(Two, parent) with { Type = "cutter-quarter" }, Auto(Three, parent),
            Auto(Three, other))
        {
            Unusable = [new UnusableDefinition("mdev.d/cutter/readme", "its name is no UUID", null)],
        };
        var host = Host(store);

        await StateAsync(host, Three, MdevState.Started);

        var listed = await AskAsync<MdevsListed>(host, ListMdevs.Instance);
        Assert.Single(listed.Mdevs);
        Assert.Equal(
            [
                "mdev.d/cutter/readme: its name is no UUID",
                $"mill/{One}: This host has no mdev parent 'mill'; it has cutter, press",
                $"cutter/{Two}: cutter has no type 'cutter-quarter'; it has cutter-half, cutter-whole",
                $"press/{Three}: its UUID is defined under cutter already",
            ],
            listed.Unusable.Select(file => $"{file.File}: {file.Why}"));
        Assert.Equal(4, store.Kept.Length);
    }

    [Fact]
    public async Task One_that_cannot_be_used_is_neither_started_nor_written_over()
    {
        var store = new FakeStore { Unusable = [new UnusableDefinition($"mdev.d/cutter/{One}", "it is no definition", One)] };
        var host = Host(store);
        var sentence = $"The definition of mdev {One} cannot be used: mdev.d/cutter/{One}: it is no definition. "
            + "Mend it or move it away, and restart the host.";

        Assert.Equal(new VfioError(Errno.EINVAL, sentence), await RefusedAsync(host, new StartMdev(One, "me")));
        Assert.Equal(new VfioError(Errno.EEXIST, sentence), await RefusedAsync(host, Define(One)));
        Assert.Empty(store.Kept);
    }

    [Fact]
    public async Task Definitions_that_cannot_be_read_at_all_stop_no_host()
    {
        var host = Host(new FakeStore { Unreadable = new IOException("Input/output error") }, functions: new FakeFunction());

        var listed = await AskAsync<MdevsListed>(host, ListMdevs.Instance);

        Assert.Equal("The definitions could not be read: Input/output error.", Assert.Single(listed.Unusable).Why);
        await AskAsync<DeviceFound>(host, new FindDevice(new FakeFunction().Address));
    }

    // ---- What fails here -------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task When_it_fails_itself_devices_stay_and_it_finds_them_again()
    {
        var store = new FakeStore();
        var host = Host(store);
        await StartedAsync(host, One, parent.Half);
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(Address(One)))).Front;
        var session = await OpenAsync(front, TestActor, "a machine");
        await AskAsync<MdevChanged>(host, Define(Two));
        parent.Trap = new InvalidOperationException("a seeded failure");

        client.Send(host, ListMdevTypes.Instance);

        var listed = await UntilListedAsync(host, listed => listed.Mdevs.Length == 2);
        Assert.Null(parent.Trap);
        Assert.Equal([(One, MdevState.Started), (Two, MdevState.Stopped)], listed.Mdevs.Select(mdev => (mdev.Definition.Uuid, mdev.State)));
        await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await AskAsync<MdevChanged>(host, new StopMdev(One, "me"));
    }

    [Fact]
    public async Task Who_waits_when_it_fails_is_told_and_what_was_under_way_comes_to_its_end()
    {
        var host = Host();
        await AskAsync<MdevChanged>(host, Define(One));
        parent.Open.Reset();
        client.Send(host, new StartMdev(One, "me"));
        await StateAsync(host, One, MdevState.Starting);
        parent.Trap = new InvalidOperationException("a seeded failure");

        host.Tell(ListMdevTypes.Instance, ActorRefs.Nobody);

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);
        await StateAsync(host, One, MdevState.Stopped);
        parent.Open.Set();
        await StateAsync(host, One, MdevState.Started);
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private IActorRef Host(FakeStore? store = null, DriverRegistration? driver = null, params FakeFunction[] functions) =>
        Host(store ?? new FakeStore(), new FakeBus(functions), DeviceOptions.Default, driver is null ? [] : [driver]);

    private IActorRef Host(FakeStore store, IPciBus beside, DeviceOptions devices, params DriverRegistration[] drivers)
    {
        bus = new MdevBus(parent, other);
        return Sys.ActorOf(HostActor.Props(new HostOptions(
            new CompositeBus(beside, MdevBus.Has, bus), new DriverCatalog(drivers), [], _ => null, Time)
        {
            Mdev = new MdevOptions(bus, store), Devices = devices,
        }));
    }

    private DefineMdev Define(Guid uuid, string? type = null) => new(uuid, parent.Name, type ?? parent.Half, AutoStart: false, "me");

    private static MdevDefinition Auto(Guid uuid, FakeParent of) => new(uuid, of.Name, of.Half, AutoStart: true);

    private static PciAddress Address(Guid uuid) => MdevBus.AddressOf(uuid);

    private static (MdevState State, string? Reason) Seen(MdevStatus mdev) => (mdev.State, mdev.Reason);

    private async Task<MdevStatus> StartedAsync(IActorRef host, Guid uuid, string type, FakeParent? of = null)
    {
        await AskAsync<MdevChanged>(host, new DefineMdev(uuid, (of ?? parent).Name, type, AutoStart: false, "me"));
        return (await AskAsync<MdevChanged>(host, new StartMdev(uuid, "me"))).Mdev;
    }

    private static async Task<MdevStatus> MdevAsync(IActorRef host, Guid uuid) =>
        (await AskAsync<MdevsListed>(host, ListMdevs.Instance)).Mdevs.Single(mdev => mdev.Definition.Uuid == uuid);

    private static async Task<MdevStatus> StateAsync(IActorRef host, Guid uuid, MdevState state) =>
        (await UntilListedAsync(host, listed => listed.Mdevs.Any(mdev => mdev.Definition.Uuid == uuid && mdev.State == state)))
        .Mdevs.Single(mdev => mdev.Definition.Uuid == uuid);

    /// <summary>It tells nobody of changes but those who ask for them: looked at until it is so, or until the test is given up.</summary>
    private static async Task<MdevsListed> UntilListedAsync(IActorRef host, Predicate<MdevsListed> holds)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var listed = await AskAsync<MdevsListed>(host, ListMdevs.Instance);
            if (holds(listed))
                return listed;
            Assert.True(
                TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromSeconds(15),
                string.Join('\n', listed.Mdevs.Select(mdev => mdev.ToString())));
            await Task.Yield();
        }
    }
}
