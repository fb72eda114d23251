using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Pci;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests;

/// <summary>One emulated device, the host's actors around it, and a server in front.</summary>
internal sealed class Lab : IAsyncDisposable
{
    private readonly EmulatedBus bus;
    private readonly ActorSystem system;
    private readonly DirectoryInfo folder;

    private Lab(EmulatedBus bus, ActorSystem system, DirectoryInfo folder, PciAddress function, IActorRef front, VfioUserServer server) =>
        (this.bus, this.system, this.folder, Function, Front, Server) = (bus, system, folder, function, front, server);

    /// <summary>Where faults are made.</summary>
    public EmulatedBus Faults => bus;

    public PciAddress Function { get; }

    public VfioUserServer Server { get; }

    /// <summary>The device itself, without the server.</summary>
    public IActorRef Front { get; }

    public ActorSystem System => system;

    public string Path => Server.Path;

    /// <summary>An endpoint with INTx, eight MSI-X vectors, a BAR of registers and memory; its driver forwards everything.</summary>
    public static Task<Lab> StartAsync(ServerOptions? options = null, DeviceOptions? devices = null) =>
        StartAsync(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(EmulatedModels.MultiFunction)] }, 0, options, devices);

    /// <summary>The virtual function of an accelerator: an engine with DMA, and migration.</summary>
    public static Task<Lab> AcceleratorAsync(ServerOptions? options = null) => StartAsync(new EmulatedBusOptions(1, 1, 1 << 20), 1, options);

    /// <summary>When the device is out of service; asked for before it is.</summary>
    public Task WhenQuarantined()
    {
        var quarantined = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        system.EventStream.Subscribe(system.ActorOf(Props.Create(() => new Listener(quarantined))), typeof(DeviceStatusChanged));
        return quarantined.Task.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
    }

    public Task<TestClient> ConnectAsync() => TestClient.ConnectAsync(Path);

    /// <summary>A client whose VERSION was answered.</summary>
    public async Task<TestClient> OpenAsync()
    {
        var client = await ConnectAsync();
        await client.HandshakeAsync();
        return client;
    }

    /// <summary>A client like any other, after all that was done: the device and its server are as they were.</summary>
    public async Task ExpectServesAsync()
    {
        using var client = await OpenAsync();
        await client.ExpectServedAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await system.Terminate();
        bus.Dispose();
        folder.Delete(recursive: true);
    }

    private static async Task<Lab> StartAsync(EmulatedBusOptions hardware, int function, ServerOptions? options, DeviceOptions? devices = null)
    {
        var bus = new EmulatedBus(hardware, TimeProvider.System);
        var system = ActorSystem.Create("vfio-user-lab", "akka { loglevel = WARNING, log-dead-letters = off }");
        var host = system.ActorOf(
            HostActor.Props(new HostOptions(bus, new DriverCatalog([.. BuiltInDrivers.All]), [], static _ => null, TimeProvider.System)
            {
                Devices = devices ?? DeviceOptions.Default,
            }), "host");
        var found = await host.Ask<DeviceFound>(new FindDevice(bus.Functions[function].Address), TimeSpan.FromSeconds(30));
        var folder = Directory.CreateTempSubdirectory("vu");
        var started = await VfioUserServer.StartAsync(system, found.Front, global::System.IO.Path.Combine(folder.FullName, "s"), options);
        return new Lab(bus, system, folder, bus.Functions[function].Address, found.Front, started.Value);
    }

    private sealed class Listener : ReceiveActor
    {
        public Listener(TaskCompletionSource quarantined) => Receive<DeviceStatusChanged>(changed =>
        {
            if (changed.Status.State == DeviceState.Quarantined)
                quarantined.TrySetResult();
        });
    }
}
