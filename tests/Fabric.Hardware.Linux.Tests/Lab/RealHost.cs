using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Pci;
using Fabric.Vfio.Core;

namespace Fabric.Hardware.Linux.Tests.Lab;

/// <summary>The actors of a host whose bus is this machine's.</summary>
internal sealed class RealHost : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public RealHost(params IReadOnlyCollection<PciAddress> functions)
        : this(functions.Contains)
    {
    }

    public RealHost(Func<PciAddress, bool> wanted)
    {
        Bus = new LinuxPciBus(new KernelVfio(), wanted);
        System = ActorSystem.Create("lab", "akka { loglevel = WARNING, log-dead-letters = off }");
        Host = System.ActorOf(HostActor.Props(new HostOptions(Bus, new DriverCatalog(), [], static _ => null, TimeProvider.System)
        {
            Devices = DeviceOptions.Default with { Core = CoreOptions.Default with { EnableSriov = true } },
        }), "host");
    }

    public LinuxPciBus Bus { get; }

    public ActorSystem System { get; }

    public IActorRef Host { get; }

    public Task<DeviceFound> FindAsync(PciAddress function) => Host.Ask<DeviceFound>(new FindDevice(function), Patience);

    public async Task<DeviceClient> OpenAsync(PciAddress function)
    {
        var found = await FindAsync(function);
        return (await DeviceClient.OpenAsync(found.Front, "a test", ActorRefs.Nobody)).Value;
    }

    public async Task<DeviceStatus> StatusAsync(PciAddress function) =>
        (await Host.Ask<DeviceList>(ListDevices.Instance, Patience)).Devices.Single(device => device.Address == function);

    public async Task<IReadOnlyList<DeviceHistoryEntry>> HistoryAsync(PciAddress function) =>
        (await Host.Ask<DeviceHistoryRead>(new GetDeviceHistory(function, 1000), Patience)).Entries;

    /// <summary>What is published, from now on.</summary>
    public Inbox Listen<T>()
    {
        var inbox = Inbox.Create(System);
        System.EventStream.Subscribe(inbox.Receiver, typeof(T));
        return inbox;
    }

    public async ValueTask DisposeAsync()
    {
        await System.Terminate();
        Bus.Dispose();
    }
}
