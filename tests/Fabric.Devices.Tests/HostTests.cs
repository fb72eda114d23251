using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

public sealed class HostTests : DeviceTest
{
    private static readonly PciAddress Inventoried = new(0, 0x01, 0, 0);
    private static readonly PciAddress First = new(0xfab0, 0x01, 0, 1);
    private static readonly PciAddress Second = new(0xfab0, 0x01, 0, 2);

    private readonly FailingBus bus = new(new FakeFunction { Address = Second }, new FakeFunction { Address = First });

    [Fact]
    public async Task It_lists_what_it_hands_out_and_what_it_only_shows_by_address()
    {
        var listed = await AskAsync<DeviceList>(Host(bus), ListDevices.Instance);

        Assert.Equal([Inventoried, First, Second], listed.Devices.Select(device => device.Address));
    }

    [Fact]
    public async Task It_binds_the_first_driver_that_matches()
    {
        var listed = await AskAsync<DeviceList>(Host(bus, Scripted(_ => { }), Scripted(_ => throw new InvalidOperationException())), ListDevices.Instance);

        Assert.Equal((null, "scripted", "scripted-vf"), (listed.Devices[0].Driver, listed.Devices[1].Driver, listed.Devices[1].Model));
    }

    [Fact]
    public async Task A_function_that_no_driver_matches_is_left_to_its_core()
    {
        var other = new DriverRegistration("other", new PciIds(1, 2), null, _ => throw new InvalidOperationException());
        var host = Host(bus, other);
        var found = await AskAsync<DeviceFound>(host, new FindDevice(First));

        Assert.Null(found.Status.Driver);
        Assert.Equal(Errno.ENOTTY, (await RefusedAsync(found.Front, new GetMigrationFlags(await OpenAsync(found.Front, TestActor)))).Errno);
    }

    [Theory]
    [InlineData("0000:01:00.0")]
    [InlineData("fab0:01:00.3")]
    public async Task A_device_that_is_not_there_or_only_shown_is_ENODEV(string address) =>
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(Host(bus), new FindDevice(PciAddress.Parse(address)))).Errno);

    [Fact]
    public async Task What_is_asked_of_a_device_before_its_turn_to_be_probed_comes_is_answered_when_it_has_been()
    {
        var (slow, next) = (new LabFunction(0, group: 1), new LabFunction(1, group: 2));
        var probe = slow.Traps.HoldNext(Point.ConfigRead);
        var host = ActorOf(HostActor.Props(new HostOptions(new LabBus(together: false, slow, next), new DriverCatalog(), [], _ => null, Time)
        {
            Devices = DeviceOptions.Default with { ConcurrentProbes = 1 },
        }));
        await probe.Entered;
        var found = AskAsync<DeviceFound>(host, new FindDevice(next.Address));
        await RefusedAsync(host, new FindDevice(First));

        probe.Release();

        Assert.Equal(next.Address, (await found).Status.Address);
    }

    [Fact]
    public async Task What_happens_to_a_device_shows_in_the_list_and_on_the_event_stream()
    {
        var events = CreateTestProbe();
        Sys.EventStream.Subscribe(events, typeof(DeviceStatusChanged));
        var host = Host(bus);
        var found = await AskAsync<DeviceFound>(host, new FindDevice(First));

        await OpenAsync(found.Front, TestActor, "claim one");

        await UntilAsync<DeviceStatusChanged>(events, changed => changed.Status is { State: DeviceState.Open, Holder: "claim one" } status && status.Address == First);
        var listed = await AskAsync<DeviceList>(host, ListDevices.Instance);
        Assert.Equal("claim one", listed.Devices.Single(device => device.Address == First).Holder);
    }

    [Fact]
    public async Task A_request_to_a_device_that_is_gone_is_ENODEV_at_once()
    {
        var gone = CreateTestProbe();
        Sys.EventStream.Subscribe(gone, typeof(DeviceGone));
        var host = Host(bus);
        var front = (await AskAsync<DeviceFound>(host, new FindDevice(First))).Front;
        Watch(front);
        bus.Happen(new FunctionVanished(First));
        await NextAsync<DeviceGone>(gone);
        await ExpectTerminatedAsync(front, cancellationToken: Cancelled);

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, new GetDeviceInfo(default))).Errno);
    }

    [Fact]
    public async Task An_error_cannot_be_injected_into_a_device_that_is_not_there() =>
        Assert.Equal(Errno.ENODEV, (await RefusedAsync(Host(bus), new InjectAer(new PciAddress(9, 9, 9, 0), AerSeverity.Fatal))).Errno);

    [Fact]
    public async Task Faults_are_not_made_in_a_real_function_beside_emulated_ones() =>
        Assert.Equal(
            new VfioError(Errno.EOPNOTSUPP, "0000:01:00.0 is a real function; faults can be injected into emulated ones only."),
            await RefusedAsync(Host(bus), new InjectHang(Inventoried, HangPoint.Reset)));

    [Fact]
    public async Task An_error_cannot_be_injected_into_real_hardware() => Assert.Equal(
        Errno.EOPNOTSUPP,
        (await RefusedAsync(Host(new FakeBus(new FakeFunction { Address = First })), new InjectAer(First, AerSeverity.Fatal))).Errno);

    [Fact]
    public async Task A_correctable_error_is_counted_and_needs_no_recovery()
    {
        var host = Host(bus);

        await AskAsync<DeviceFound>(host, new FindDevice(First));

        var report = await AskAsync<RecoveryReport>(host, new InjectAer(First, AerSeverity.Correctable));

        Assert.Null(report.Recovered);
        Assert.Equal(DeviceHealth.Healthy, (await AskAsync<DeviceFound>(host, new FindDevice(First))).Status.Health);
    }

    [Fact]
    public async Task An_error_of_a_function_that_is_not_the_hosts_harms_nobody()
    {
        var host = Host(bus);

        bus.Report(new AerRecord(new PciAddress(9, 9, 9, 0), AerSeverity.Fatal, 0));

        Assert.Equal(3, (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices.Length);
    }

    private IActorRef Host(FakeBus functions, params DriverRegistration[] drivers)
    {
        var shown = StatusOf(new FakeFunction { Address = Inventoried }, null) with { Physical = true };
        return ActorOf(HostActor.Props(new HostOptions(functions, new DriverCatalog(drivers), [shown], _ => null, Time)));
    }
}
