using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests;

/// <summary>Memory of a holder.</summary>
internal sealed class HolderMemory(int bytes) : IDmaMemory
{
    public byte[] Bytes { get; } = new byte[bytes];

    public ulong Length => (ulong)Bytes.Length;

    public Span<byte> Window(ulong offset, int length) => Bytes.AsSpan((int)offset, length);
}

/// <summary>A bus with one function on it.</summary>
internal sealed class OneFunctionBus(IPciFunction function) : IPciBus
{
    public IReadOnlyList<IPciFunction> Functions { get; } = [function];

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => [source];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Ok;

    public void ReportTo(Action<BusEvent> sink)
    {
    }
}

/// <summary>An accelerator with its whole chain, and a holder that has it open, with memory mapped and the engine programmed.</summary>
internal sealed class Lab : IDisposable
{
    public const ulong Iova = 0x10000;
    public const int MemoryBytes = 1 << 18;
    public const long StateBytes = AcceleratorState.Granule * 4;

    private Lab(FakeTimeProvider time, AcceleratorVirtualFunction function, IActorRef front, DeviceClient client, HolderMemory memory) =>
        (Time, Function, Front, Client, Memory) = (time, function, front, client, memory);

    public FakeTimeProvider Time { get; }

    public AcceleratorVirtualFunction Function { get; }

    public IActorRef Front { get; }

    public DeviceClient Client { get; }

    public HolderMemory Memory { get; }

    /// <param name="wrap">What stands between the core and the accelerator, if anything.</param>
    public static async Task<Lab> OpenAsync(
        ActorSystem system, IActorRef holder, byte slot, long stateBytes = StateBytes, Func<IPciFunction, IPciFunction>? wrap = null)
    {
        var time = new FakeTimeProvider();
        var address = new PciAddress(0xfab0, 1, 0, slot);
        var function = new AcceleratorVirtualFunction(address, stateBytes, time);
        var bus = new OneFunctionBus(wrap?.Invoke(function) ?? function);
        var host = system.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(AcceleratorDriver.Registration), [], _ => stateBytes, time)));
        var found = await host.Ask<DeviceFound>(new FindDevice(address), TimeSpan.FromSeconds(10));
        var client = (await DeviceClient.OpenAsync(found.Front, "the test", holder)).Value;
        var memory = new HolderMemory(MemoryBytes);
        Assert.True((await client.MapDmaAsync(Iova, memory)).IsOk);
        return new Lab(time, function, found.Front, client, memory);
    }

    /// <summary>Bus mastering on, ring and head set, engine running at a step a millisecond.</summary>
    public async Task RunAsync()
    {
        await EnableBusMasterAsync();
        await WriteAsync(AcceleratorRegister.RingIova, Iova + 4096, 8);
        await WriteAsync(AcceleratorRegister.RingSlots, (MemoryBytes - 4096) / AcceleratorRecord.Bytes, 8);
        await WriteAsync(AcceleratorRegister.HeadIova, Iova, 8);
        await WriteAsync(AcceleratorRegister.Pace, 1000, 4);
        await WriteAsync(AcceleratorRegister.Control, AcceleratorRegister.ControlRun, 4);
    }

    public async Task EnableBusMasterAsync()
    {
        var command = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)(PciCommand.MemorySpace | PciCommand.BusMaster));
        Assert.True((await Client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, command)).IsOk);
    }

    /// <summary>The driver fails and is restarted; what is asked of the device after this meets the new one.</summary>
    public void FailDriver() => Front.Tell(Kill.Instance);

    /// <summary>Lets the engine run for so many milliseconds.</summary>
    public void Advance(int milliseconds)
    {
        for (var passed = 0; passed < milliseconds; passed += 2)
            Time.Advance(TimeSpan.FromMilliseconds(2));
    }

    public async Task<ulong> ReadAsync(int register) =>
        BinaryPrimitives.ReadUInt64LittleEndian((await Client.ReadAsync(AcceleratorBar.Registers, (ulong)register, 8)).Value.Span);

    public async Task WriteAsync(int register, ulong value, int length)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.True((await Client.WriteAsync(AcceleratorBar.Registers, (ulong)register, bytes.AsMemory(0, length))).IsOk);
    }

    public async Task<IMigrationStream> EnterAsync(MigrationState state)
    {
        var set = await Client.SetMigrationStateAsync(state);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>All of device state, by the window that its host's driver has.</summary>
    public byte[] State()
    {
        var bytes = new byte[StateBytes];
        Assert.True(Function.ReadRegion(AcceleratorBar.State, 0, bytes).IsOk);
        return bytes;
    }

    public static byte[] ReadAll(IMigrationStream stream)
    {
        var all = new List<byte>();
        var buffer = new byte[10_000];
        while (stream.Read(buffer) is { IsOk: true, Value: > 0 } read)
            all.AddRange(buffer[..read.Value]);
        return [.. all];
    }

    public void Dispose() => Function.Dispose();
}
