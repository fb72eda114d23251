using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Mtty;
using Fabric.Hardware.Emulated.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>A serial card with its whole chain, and a holder that has it open, I/O decode and bus mastering on.</summary>
internal sealed class SerialLab : IDisposable
{
    private SerialLab(MttyFunction card, IActorRef front, DeviceClient client) => (Card, Front, Client) = (card, front, client);

    public MttyFunction Card { get; }

    public IActorRef Front { get; }

    public DeviceClient Client { get; private set; }

    public bool IsSuspended
    {
        get
        {
            var status = new byte[4];
            Assert.True(Card.ReadRegion(MttyBar.Migration, MttyMigration.Status, status).IsOk);
            return (status[0] & (byte)MttyStatus.Suspended) != 0;
        }
    }

    /// <param name="wrap">What stands between the core and the card, if anything.</param>
    public static async Task<SerialLab> OpenAsync(
        ActorSystem system, IActorRef holder, byte slot = 1, MigrationFlags flags = MttyMigrationOps.Everything, int ports = 2,
        Func<IPciFunction, IPciFunction>? wrap = null)
    {
        var address = new PciAddress(0xfab0, 9, slot, 0);
        var card = MttyFunction.Create(address, ports, new MttyPortPool()).Value;
        var bus = new OneFunctionBus(wrap?.Invoke(card) ?? card);
        var host = system.ActorOf(HostActor.Props(new HostOptions(
            bus, new DriverCatalog(MttyDriver.RegistrationWith(flags)), [], _ => null, new FakeTimeProvider())));
        var found = await host.Ask<DeviceFound>(new FindDevice(address), TimeSpan.FromSeconds(10));
        var lab = new SerialLab(card, found.Front, (await DeviceClient.OpenAsync(found.Front, "the test", holder)).Value);
        await lab.TurnOnAsync();
        return lab;
    }

    /// <summary>Opens it again after a close.</summary>
    public async Task ReopenAsync(IActorRef holder)
    {
        Client = (await DeviceClient.OpenAsync(Front, "the test", holder)).Value;
        await TurnOnAsync();
    }

    public async Task WriteAsync(int register, byte value, int port = 0) =>
        Assert.True((await Client.WriteAsync(port, (ulong)register, new[] { value })).IsOk);

    public async Task<byte> ReadAsync(int register, int port = 0) => (await Client.ReadAsync(port, (ulong)register, 1)).Value.Span[0];

    /// <summary>FIFOs and the receiver's interrupt on, and bytes sent.</summary>
    public async Task SendAsync(params byte[] bytes)
    {
        await WriteAsync(UartRegister.FifoControl, (byte)UartFifoControl.Enable);
        await WriteAsync(UartRegister.InterruptEnable, (byte)UartInterruptEnable.ReceivedData);
        foreach (var sent in bytes)
            await WriteAsync(UartRegister.Data, sent);
    }

    public async Task<byte[]> ReceivedAsync()
    {
        var all = new List<byte>();
        while ((await ReadAsync(UartRegister.LineStatus) & (byte)UartLineStatus.DataReady) != 0)
            all.Add(await ReadAsync(UartRegister.Data));
        return [.. all];
    }

    public async Task<IMigrationStream> EnterAsync(MigrationState target)
    {
        var set = await Client.SetMigrationStateAsync(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    public async Task<MigrationState> StateAsync() => (await Client.GetMigrationStateAsync()).Value;

    /// <summary>The driver fails and is restarted; what is asked of the device after this meets the new one.</summary>
    public void FailDriver() => Front.Tell(Kill.Instance);

    public void Dispose() => Card.Dispose();

    private async Task TurnOnAsync()
    {
        var command = new byte[] { (byte)(PciCommand.IoSpace | PciCommand.BusMaster), 0 };
        Assert.True((await Client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, command)).IsOk);
    }
}
