using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Virtio;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Virtio;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>A VF with its PF and its whole chain, and a holder that has it open.</summary>
internal sealed class VirtioLab : IDisposable
{
    private readonly EmulatedBus bus;

    private VirtioLab(EmulatedBus bus, FakeTimeProvider time, IActorRef front, DeviceClient client) =>
        (this.bus, Time, Front, Client) = (bus, time, front, client);

    public FakeTimeProvider Time { get; }

    public IActorRef Front { get; }

    public DeviceClient Client { get; private set; }

    public VirtioPhysicalFunction Physical => (VirtioPhysicalFunction)bus.Functions[0];

    public VirtioVirtualFunction Function => (VirtioVirtualFunction)bus.Functions[1];

    /// <param name="commands">Those that the PF takes; null for all.</param>
    /// <param name="opens">1 for the VF, 0 for the PF, which has none then: one that has is its own driver's.</param>
    /// <param name="wrap">What stands between the core and the VF, if anything.</param>
    public static async Task<VirtioLab> OpenAsync(
        ActorSystem system, IActorRef holder, string model = EmulatedModels.VirtioNet, ulong? commands = null, int opens = 1,
        Func<IPciFunction, IPciFunction>? wrap = null)
    {
        var time = new FakeTimeProvider();
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 1 << 16) { Cards = [new EmulatedCard(model, VirtualFunctions: opens)] }, time);
        var physical = (VirtioPhysicalFunction)bus.Functions[0];
        physical.Commands = commands ?? physical.Commands;
        var opened = bus.Functions[opens];
        var host = system.ActorOf(HostActor.Props(new HostOptions(
            new OneFunctionBus(wrap?.Invoke(opened) ?? opened), new DriverCatalog([.. VirtioDriver.Registrations]), [], _ => null, time)));
        var found = await host.Ask<DeviceFound>(new FindDevice(opened.Address), TimeSpan.FromSeconds(10));
        return new VirtioLab(bus, time, found.Front, (await DeviceClient.OpenAsync(found.Front, "the test", holder)).Value);
    }

    public async Task ReopenAsync(IActorRef holder) => Client = (await DeviceClient.OpenAsync(Front, "the test", holder)).Value;

    public Task<DeviceReply> AskAsync(DeviceRequest request) => Front.Ask<DeviceReply>(request, TimeSpan.FromSeconds(10));

    public async Task WriteConfigAsync(int offset, int length, uint value) =>
        Assert.True((await Client.WriteAsync(RegionIndex.Config, (ulong)offset, BitConverter.GetBytes(value).AsMemory(0, length))).IsOk);

    public async Task<uint> ReadConfigAsync(int offset, int length) =>
        Value((await Client.ReadAsync(RegionIndex.Config, (ulong)offset, length)).Value);

    public async Task WritePortAsync(int port, int length, uint value) =>
        Assert.True((await Client.WriteAsync(0, (ulong)port, BitConverter.GetBytes(value).AsMemory(0, length))).IsOk);

    public async Task<uint> ReadPortAsync(int port, int length) => Value((await Client.ReadAsync(0, (ulong)port, length)).Value);

    public async Task<IMigrationStream> EnterAsync(MigrationState target)
    {
        var set = await Client.SetMigrationStateAsync(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    public async Task<MigrationState> StateAsync() => (await Client.GetMigrationStateAsync()).Value;

    /// <summary>The driver fails and is restarted; what is asked of the device after this meets the new one.</summary>
    public void FailDriver() => Front.Tell(Kill.Instance);

    public void Dispose() => bus.Dispose();

    private static uint Value(ReadOnlyMemory<byte> bytes)
    {
        Span<byte> value = stackalloc byte[4];
        value.Clear();
        bytes.Span.CopyTo(value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }
}

/// <summary>A VF as it is, with a BAR 0 of its own.</summary>
internal sealed class FunctionWithBar0(IPciFunction inner) : IPciFunction
{
    public PciAddress Address => inner.Address;

    public PciIds Ids => inner.Ids;

    public FunctionTraits Traits => inner.Traits;

    public PciAddress? PhysicalFunction => inner.PhysicalFunction;

    public int? IommuGroup => inner.IommuGroup;

    public int ConfigSize => inner.ConfigSize;

    public IReadOnlyList<PciBar> Bars { get; } = [new PciBar(BarKind.Memory32, 4096), .. inner.Bars.Skip(1)];

    public IReadOnlyList<string> ResetMethods => inner.ResetMethods;

    public IFunctionInterrupts Interrupts => inner.Interrupts;

    public IFunctionPlatform Platform => inner.Platform;

    public void ReadConfig(int offset, Span<byte> destination) => inner.ReadConfig(offset, destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => inner.WriteConfig(offset, source);

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => inner.ReadRegion(region, offset, destination);

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => inner.WriteRegion(region, offset, source);

    public VfioResult Reset(string method) => inner.Reset(method);

    public void ConnectDma(IDmaSpace? space) => inner.ConnectDma(space);
}
