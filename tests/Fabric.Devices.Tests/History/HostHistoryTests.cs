using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.History;
using Fabric.Devices.History.Journal;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.History;

/// <summary>A host that writes down what happens to its devices, and its next life.</summary>
public sealed class HostHistoryTests : DeviceTest
{
    private static readonly PciAddress Device = new(0xfab0, 0x01, 0, 1);
    private static readonly PciAddress Other = new(0xfab0, 0x02, 0, 1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly JournalFaults journal;
    private readonly FakeFunction function = new() { Address = Device };
    private readonly FailingBus bus;

    public HostHistoryTests()
        : base(JournalFaults.Config)
    {
        journal = JournalFaults.Of(Sys);
        bus = new FailingBus(function, new FakeFunction { Address = Other });
    }

    [Fact]
    public async Task A_quarantined_device_is_in_quarantine_in_the_hosts_next_life_and_says_for_what()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(Device, "it smells", "ops"));

        var next = await NextLifeAsync(host);

        Assert.Contains("it smells", (await RefusedAsync(next, new FindDevice(Device))).Sentence);
        await AskAsync<DeviceFound>(next, new FindDevice(Other));
    }

    [Fact]
    public async Task Who_took_a_device_out_of_service_and_who_put_it_back_is_known_in_the_hosts_next_life()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(Device, "it smells", "ops"));
        await AskAsync<HostDone>(host, new UnquarantineDevice(Device, "night shift"));

        var next = await NextLifeAsync(host);

        await AskAsync<DeviceFound>(next, new FindDevice(Device));
        var history = await HistoryAsync(next);
        Assert.Contains(("quarantined", "it smells (by ops)"), history);
        Assert.Contains(("unquarantined", "by night shift"), history);
    }

    [Fact]
    public async Task What_is_acknowledged_is_in_the_history_too()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(Device, "it smells", "ops"));
        var quarantined = journal.Written;
        await AskAsync<HostDone>(host, new UnquarantineDevice(Device, "ops"));
        var unquarantined = journal.Written;

        AssertNotedBeforeItsStanding(quarantined, "quarantined");
        AssertNotedBeforeItsStanding(unquarantined, "unquarantined");
    }

    [Fact]
    public async Task What_was_spent_of_a_budget_is_spent_in_the_hosts_next_life()
    {
        var host = Host();
        await AskAsync<DeviceFound>(host, new FindDevice(Device));
        for (var freeze = 0; freeze < DeviceOptions.Default.FreezeBudget; freeze++)
            Assert.True((await AskAsync<RecoveryReport>(host, new InjectAer(Device, AerSeverity.NonFatal))).Recovered);
        // Written after what was spent, so that is written too.
        await AskAsync<HostDone>(host, new SetResetMethods(Device, [], "ops"));

        var next = await NextLifeAsync(host);
        await AskAsync<DeviceFound>(next, new FindDevice(Device));
        await AskAsync<RecoveryReport>(next, new InjectAer(Device, AerSeverity.NonFatal));

        Assert.Contains("freezes within an hour", (await RefusedAsync(next, new FindDevice(Device))).Sentence);
    }

    [Fact]
    public async Task The_driver_that_an_override_names_is_known_in_the_hosts_next_life_and_the_override_that_was_cleared_is_not()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new OverrideDriver(Device, "vfio-pci", "ops"));
        await AskAsync<HostDone>(host, new OverrideDriver(Other, "vfio-pci", "ops"));
        await AskAsync<HostDone>(host, new OverrideDriver(Other, null, "ops"));

        var next = await NextLifeAsync(host);

        Assert.Equal("vfio-pci", (await AskAsync<DeviceFound>(next, new FindDevice(Device))).Status.Choice!.Override);
        Assert.Null((await AskAsync<DeviceFound>(next, new FindDevice(Other))).Status.Choice!.Override);
        Assert.Contains(("driver-override", "vfio-pci, by ops"), await HistoryAsync(next));
    }

    [Fact]
    public async Task A_quarantine_that_could_not_be_written_down_is_answered_with_EIO_and_stands()
    {
        var host = Host();
        await AskAsync<DeviceFound>(host, new FindDevice(Device));
        journal.OnWrite = JournalFault.Fail;

        var refused = await RefusedAsync(host, new QuarantineDevice(Device, "it smells", "ops"));

        Assert.Equal(Errno.EIO, refused.Errno);
        Assert.EndsWith("the disk is full", refused.Sentence);
        Assert.Contains("it smells", (await RefusedAsync(host, new FindDevice(Device))).Sentence);
    }

    [Fact]
    public async Task Devices_of_a_host_whose_journal_hangs_come_up_and_go_back_to_quarantine_when_it_is_read()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(Device, "it smells", "ops"));
        journal.OnRead = JournalFault.Hang;
        var next = await NextLifeAsync(host);
        await HistoryStartedAsync(next);
        for (var second = 0; second < HistoryOptions.Default.ReadDeadline.TotalSeconds; second++)
            Timers.Advance(TimeSpan.FromSeconds(1));
        await AskAsync<DeviceFound>(next, new FindDevice(Device));

        journal.EndHangs();

        // Reading was given up meanwhile, and is tried again when a timer says so.
        await AwaitConditionAsync(
            async () =>
            {
                Timers.Advance(HistoryOptions.Default.RetryAtMost);
                return await next.Ask<object>(new FindDevice(Device), Patience, Cancelled) is DeviceFailed;
            },
            Patience, cancellationToken: Cancelled);
        Assert.Contains("it smells", (await RefusedAsync(next, new FindDevice(Device))).Sentence);
    }

    [Theory]
    [InlineData(false, DeviceState.Closed)]
    [InlineData(true, DeviceState.Open)]
    public async Task Devices_of_a_host_whose_journal_hangs_have_their_override_when_it_is_read_and_those_that_are_held_at_the_next_probe(
        bool isHeld, DeviceState state)
    {
        var host = Host();
        await AskAsync<HostDone>(host, new OverrideDriver(Device, "vfio-pci", "ops"));
        await AskAsync<HostDone>(host, new QuarantineDevice(Other, "it smells", "ops"));
        journal.OnRead = JournalFault.Hang;
        var next = await NextLifeAsync(host);
        await HistoryStartedAsync(next);
        for (var second = 0; second < HistoryOptions.Default.ReadDeadline.TotalSeconds; second++)
            Timers.Advance(TimeSpan.FromSeconds(1));
        var front = (await AskAsync<DeviceFound>(next, new FindDevice(Device))).Front;
        if (isHeld)
            await OpenAsync(front, TestActor);
        Assert.Null((await AskAsync<DeviceList>(next, ListDevices.Instance)).Devices[0].Choice!.Override);

        journal.EndHangs();

        await AwaitConditionAsync(
            async () =>
            {
                Timers.Advance(HistoryOptions.Default.RetryAtMost);
                var devices = (await AskAsync<DeviceList>(next, ListDevices.Instance)).Devices;
                return devices[1].State == DeviceState.Quarantined && devices[0].State == state && (isHeld || devices[0].Choice?.Override == "vfio-pci");
            },
            Patience, cancellationToken: Cancelled);
        await AskAsync<HostDone>(next, new SetResetMethods(Device, [], "ops"));
        var last = await NextLifeAsync(next);
        Assert.Equal("vfio-pci", (await AskAsync<DeviceFound>(last, new FindDevice(Device))).Status.Choice!.Override);
    }

    [Fact]
    public async Task A_slot_whose_device_was_quarantined_and_pulled_out_is_in_quarantine_when_a_device_comes_back_and_can_be_asked_for_its_history()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(Device, "it smells", "ops"));
        await PullOutAsync(host);

        Assert.Contains(("quarantined", "it smells (by ops)"), await HistoryAsync(host));
        host.Tell(new FunctionAppeared(function));

        Assert.Contains("it smells", (await RefusedAsync(host, new FindDevice(Device))).Sentence);
    }

    [Fact]
    public async Task A_device_that_was_put_back_into_service_is_in_service_when_it_is_pulled_out_and_comes_back()
    {
        var before = Host();
        await AskAsync<HostDone>(before, new QuarantineDevice(Device, "it smells", "ops"));
        var host = await NextLifeAsync(before);
        await AskAsync<HostDone>(host, new UnquarantineDevice(Device, "ops"));
        await PullOutAsync(host);

        host.Tell(new FunctionAppeared(function));

        await AskAsync<DeviceFound>(host, new FindDevice(Device));
    }

    private static void AssertNotedBeforeItsStanding(object[] written, string kind)
    {
        var noted = Array.FindLastIndex(written, happened => happened is EntryNoted { Entry.Kind: var kept } && kept == kind);
        Assert.InRange(noted, 0, Array.FindLastIndex(written, happened => happened is StandingChanged));
    }

    private IActorRef Host() => Sys.ActorOf(HostActor.Props(
        new HostOptions(bus, new DriverCatalog([]), [], _ => null, Time) { History = JournaledHistory.Props() }));

    private async Task<IActorRef> NextLifeAsync(IActorRef host)
    {
        await host.GracefulStop(Patience);
        return Host();
    }

    /// <summary>Its timers run: who can be identified has started.</summary>
    private async Task HistoryStartedAsync(IActorRef host)
    {
        await Sys.ActorSelection(host.Path).ResolveOne(Patience, Cancelled);
        await Sys.ActorSelection(host.Path / "history").ResolveOne(Patience, Cancelled);
    }

    private async Task PullOutAsync(IActorRef host)
    {
        var events = CreateTestProbe();
        Sys.EventStream.Subscribe(events, typeof(DeviceGone));
        host.Tell(new FunctionVanished(Device));
        await UntilAsync<DeviceGone>(events, gone => gone.Address == Device);
    }

    private static async Task<(string Kind, string Message)[]> HistoryAsync(IActorRef host) =>
        [.. (await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(Device, 100))).Entries.Select(entry => (entry.Kind, entry.Message))];
}
