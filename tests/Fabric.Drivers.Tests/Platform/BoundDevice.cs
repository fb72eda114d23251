using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Platform;

/// <summary>The one function of an emulated model, with a driver in front, open.</summary>
internal sealed class BoundDevice : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly EmulatedBus bus;

    private BoundDevice(EmulatedBus bus, IActorRef host, IActorRef front, SessionId session) =>
        (this.bus, Host, Front, Session) = (bus, host, front, session);

    public IActorRef Host { get; }

    public IActorRef Front { get; }

    public SessionId Session { get; }

    public PciAddress Address => bus.Functions[0].Address;

    public IPciFunction Function => bus.Functions[0];

    public EmulatedBus Bus => bus;

    public static async Task<BoundDevice> OpenAsync(ActorSystem system, IActorRef holder, string model, params DriverRegistration[] drivers)
    {
        var time = new FakeTimeProvider();
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(model)] }, time);
        var host = system.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(drivers), [], _ => null, time)));
        var found = await host.Ask<DeviceFound>(new FindDevice(bus.Functions[0].Address), Patience);
        var opened = await found.Front.Ask<object>(new OpenDevice("the test", holder), Patience);
        return new BoundDevice(bus, host, found.Front, Assert.IsType<DeviceOpened>(opened).Session);
    }

    public async Task<T> AskAsync<T>(DeviceRequest request) => Assert.IsType<T>(await Front.Ask<object>(request, Patience));

    public async Task<object> AskAsync(DeviceRequest request) => await Front.Ask<object>(request, Patience);

    public async Task<Errno> RefusedAsync(DeviceRequest request) => (await AskAsync<DeviceFailed>(request)).Error.Errno;

    public async Task<byte[]> ReadAsync(int region, ulong offset, int length) =>
        (await AskAsync<RegionRead>(new ReadRegion(Session, region, offset, length))).Data.ToArray();

    /// <summary>The driver fails and is restarted; what is asked of the device after this meets the new one.</summary>
    public void FailDriver() => Front.Tell(Kill.Instance);

    public void Dispose() => bus.Dispose();
}
