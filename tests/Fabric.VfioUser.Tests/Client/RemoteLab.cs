using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Client;
using Fabric.VfioUser.Server;
using Fabric.VfioUser.Tests.Server;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>A host with one device that somebody else serves.</summary>
internal sealed class RemoteLab : IAsyncDisposable
{
    public static readonly PciAddress Address = new(VfioUserBus.Domain, 0, 1, 0);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly ActorSystem system;
    private readonly IActorRef consumer;
    private readonly List<VfioError> troubles = [];

    public RemoteLab(string socket, ClientOptions? options = null)
    {
        Bus = new VfioUserBus([new ServedElsewhere(Address, socket)], OnTrouble, options ?? Quick);
        system = ActorSystem.Create("remote-lab", "akka { loglevel = WARNING, log-dead-letters = off }");
        var drivers = new DriverCatalog([.. BuiltInDrivers.All, VfioUserDriver.Registration]);
        Host = system.ActorOf(HostActor.Props(new HostOptions(Bus, drivers, [], static _ => null, TimeProvider.System)), "host");
        consumer = system.ActorOf(Props.Create(static () => new Consumer()));
    }

    /// <summary>A server that is away is looked for again soon.</summary>
    public static ClientOptions Quick { get; } = ClientOptions.Default with { RetryInterval = TimeSpan.FromMilliseconds(20) };

    public VfioUserBus Bus { get; }

    public IActorRef Host { get; }

    public ActorSystem System => system;

    /// <summary>Why the server was not reached, each reason once.</summary>
    public VfioError[] Troubles
    {
        get
        {
            lock (troubles)
                return [.. troubles];
        }
    }

    /// <summary>The device in service; waited for.</summary>
    public async Task<DeviceFound> FindAsync()
    {
        DeviceFound? found = null;
        await DmaTests.UntilAsync(async () =>
            (found = await Host.Ask<object>(new FindDevice(Address), Patience) as DeviceFound) is { Status.State: DeviceState.Closed });
        return found!;
    }

    public async Task<DeviceClient> OpenAsync() => (await DeviceClient.OpenAsync((await FindAsync()).Front, "a test", consumer)).Value;

    public async Task GoneAsync() => await DmaTests.UntilAsync(async () =>
        await Host.Ask<object>(new FindDevice(Address), Patience) is DeviceFailed { Error.Errno: Errno.ENODEV });

    /// <summary>The same device, served on: a client of this one reaches it through both.</summary>
    public async Task<VfioUserServer> ServeOnAsync(string socket) =>
        (await VfioUserServer.StartAsync(system, (await FindAsync()).Front, socket)).Value;

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        Bus.Dispose();
    }

    private void OnTrouble(ServedElsewhere device, VfioError why)
    {
        lock (troubles)
            troubles.Add(why);
    }

    private sealed class Consumer : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}

/// <summary>Memory of a holder, in this process.</summary>
internal sealed class HolderMemory(int bytes) : IDmaMemory
{
    private readonly byte[] memory = new byte[bytes];

    public ulong Length => (ulong)memory.Length;

    public byte[] Bytes => memory;

    public Span<byte> Window(ulong offset, int length) => memory.AsSpan((int)offset, length);
}

/// <summary>Counts its signals.</summary>
internal sealed class Signals : IEventTarget
{
    private int count;

    public int Count => Volatile.Read(ref count);

    public void Signal() => Interlocked.Increment(ref count);
}
