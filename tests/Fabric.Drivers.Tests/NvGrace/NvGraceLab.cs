using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.NvGrace;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.NvGrace;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.NvGrace;

/// <summary>
/// A GPU with its whole chain, and a holder that has it open, memory decode on. Time passes for it and for actors when a test says so.
/// </summary>
internal sealed class NvGraceLab : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly ActorSystem system;
    private readonly FakeTimeProvider time;

    private NvGraceLab(ActorSystem system, FakeTimeProvider time, EmulatedBus bus, IActorRef front, DeviceClient client) =>
        (this.system, this.time, Bus, Front, Client) = (system, time, bus, front, client);

    public EmulatedBus Bus { get; }

    public NvGraceFunction Gpu => (NvGraceFunction)Bus.Functions[0];

    public IActorRef Front { get; }

    public DeviceClient Client { get; private set; }

    public static async Task<NvGraceLab> OpenAsync(ActorSystem system, IActorRef holder, string model = EmulatedModels.GraceHopper)
    {
        var time = new FakeTimeProvider();
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(model)] }, time);
        return await OpenAsync(system, holder, time, bus, bus);
    }

    /// <summary>One of which firmware describes no memory, or as much as is said.</summary>
    public static async Task<NvGraceLab> OpenAsync(ActorSystem system, IActorRef holder, ulong memoryBytes)
    {
        var time = new FakeTimeProvider();
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0), time);
        var gpu = NvGraceFunction.Hopper(new PciAddress(0xfab0, 1, 0, 0), memoryBytes, time);
        return await OpenAsync(system, holder, time, bus, new OneFunctionBus(gpu));
    }

    public async Task ReopenAsync(IActorRef holder)
    {
        Client = (await DeviceClient.OpenAsync(Front, "the test", holder)).Value;
        await TurnOnAsync();
    }

    /// <summary>Open, and ready.</summary>
    public NvGraceLab Ready()
    {
        time.Advance(TimeSpan.FromSeconds(5));
        return this;
    }

    public Task<DeviceReply> AskAsync(DeviceRequest request) => Front.Ask<DeviceReply>(request, Patience);

    public async Task<Errno> RefusedAsync(DeviceRequest request) => ((await AskAsync(request)) as DeviceFailed)?.Error.Errno ?? Errno.None;

    public async Task<RegionInfo> InfoAsync(int region) => ((RegionInfoRead)await AskAsync(new GetRegionInfo(Client.Session, region))).Info;

    public async Task<byte[]> ReadAsync(int region, ulong offset, int length)
    {
        var read = await Client.ReadAsync(region, offset, length);
        Assert.True(read.IsOk, read.Error.ToString());
        return read.Value.ToArray();
    }

    public async Task WriteAsync(int region, ulong offset, params byte[] data) => Assert.True((await Client.WriteAsync(region, offset, data)).IsOk);

    /// <summary>So many seconds pass, one by one: each as soon as the driver waits for it.</summary>
    public async Task PassAsync(int seconds)
    {
        for (var passed = 0; passed < seconds; passed++)
        {
            await Front.Ask<ActorIdentity>(new Identify(passed), Patience);
            time.Advance(TimeSpan.FromSeconds(1));
            ((TestScheduler)system.Scheduler).Advance(TimeSpan.FromSeconds(1));
        }
    }

    public async Task TurnOnAsync() => await WriteAsync(RegionIndex.Config, ConfigOffset.Command, (byte)PciCommand.MemorySpace, 0);

    public void FailDriver() => Front.Tell(Kill.Instance);

    public void Dispose() => Bus.Dispose();

    private static async Task<NvGraceLab> OpenAsync(ActorSystem system, IActorRef holder, FakeTimeProvider time, EmulatedBus bus, IPciBus used)
    {
        var host = system.ActorOf(HostActor.Props(new HostOptions(used, new DriverCatalog([.. NvGraceDriver.Registrations]), [], _ => null, time)));
        var found = await host.Ask<DeviceFound>(new FindDevice(used.Functions[0].Address), Patience);
        var lab = new NvGraceLab(system, time, bus, found.Front, (await DeviceClient.OpenAsync(found.Front, "the test", holder)).Value);
        await lab.TurnOnAsync();
        return lab;
    }
}
