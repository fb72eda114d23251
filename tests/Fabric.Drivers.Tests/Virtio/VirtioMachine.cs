using System.Buffers.Binary;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Drivers.Virtio;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Virtio;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>The way to the PF, with a test in it that may do things before and after each command.</summary>
internal sealed class TappedChannel(IPfChannel inner) : IPfChannel
{
    public Func<VfioResult> Before { get; set; } = () => VfioResult.Ok;

    public Action After { get; set; } = () => { };

    /// <summary>Commands that were given, in order.</summary>
    public List<VirtioOpcode> Commands { get; } = [];

    public string Protocol => inner.Protocol;

    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        Commands.Add((VirtioOpcode)BinaryPrimitives.ReadUInt16LittleEndian(command));
        var before = Before();
        if (!before.IsOk)
            return before.Error;
        var executed = inner.Execute(command, reply);
        After();
        return executed;
    }

    public void ReportTo(Action<PfEvent>? sink) => inner.ReportTo(sink);
}

/// <summary>Memory of a guest as a device's DMA sees it, from address 0.</summary>
internal sealed class GuestMemory : IDmaSpace
{
    public byte[] Bytes { get; init; } = new byte[1 << 16];

    public bool TryWrite(ulong iova, ReadOnlySpan<byte> source) => iova < (ulong)Bytes.Length && source.TryCopyTo(Bytes.AsSpan((int)iova));

    public bool TryRead(ulong iova, Span<byte> destination)
    {
        if (iova > (ulong)(Bytes.Length - destination.Length))
            return false;
        Bytes.AsSpan((int)iova, destination.Length).CopyTo(destination);
        return true;
    }
}

/// <summary>A VF with its PF, its arcs and the machine that walks them: the driver's migration part alone.</summary>
internal sealed class VirtioMachine : IDisposable
{
    public const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private readonly EmulatedBus bus;

    public VirtioMachine(string model = EmulatedModels.VirtioNet, GuestMemory? memory = null)
    {
        bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 1 << 16) { Cards = [new EmulatedCard(model, VirtualFunctions: 1)] }, Time);
        Memory = memory ?? Memory;
        Function.ConnectDma(Memory);
        TurnOn();
        Channel = new TappedChannel(Function.Platform.PhysicalFunction!);
        Commands = new VirtioCommands(Channel);
        Arcs = new VirtioArcs(Commands, Time);
        Noted = new NotedArcs(Arcs);
        Machine = MigrationMachine.Register(Noted).Value;
    }

    public FakeTimeProvider Time { get; } = new();

    public GuestMemory Memory { get; } = new();

    public VirtioPhysicalFunction Physical => (VirtioPhysicalFunction)bus.Functions[0];

    public VirtioVirtualFunction Function => (VirtioVirtualFunction)bus.Functions[1];

    public TappedChannel Channel { get; }

    public VirtioCommands Commands { get; }

    public VirtioArcs Arcs { get; }

    public NotedArcs Noted { get; }

    public MigrationMachine Machine { get; }

    public MigrationState State => Machine.State;

    /// <summary>A guest that has its queue in use, and has sent some.</summary>
    public VirtioMachine With(int requests)
    {
        var guest = new VirtioGuest(Function, Memory);
        guest.SetUp();
        for (var sent = 0; sent < requests; sent++)
            guest.Send();
        return this;
    }

    public ulong Read(int offset, int length)
    {
        var value = new byte[8];
        Assert.True(Function.ReadRegion(VirtioBar.Modern, (ulong)offset, value.AsSpan(0, length)).IsOk);
        return BinaryPrimitives.ReadUInt64LittleEndian(value);
    }

    public void Write(int offset, int length, ulong value) =>
        Assert.True(Function.WriteRegion(VirtioBar.Modern, (ulong)offset, BitConverter.GetBytes(value).AsSpan(0, length)).IsOk);

    /// <summary>All that the function is, as its firmware tells it.</summary>
    public byte[] Parts()
    {
        var commands = new VirtioCommands(Function.Platform.PhysicalFunction!);
        Assert.True(commands.Create(VirtioObjectFor.Getting).IsOk);
        var parts = commands.GetParts().Value;
        Assert.True(commands.Destroy(VirtioObjectFor.Getting).IsOk);
        // What its mode was is the last of them, and is no part of what it is.
        return parts[..^1];
    }

    public IMigrationStream Enter(MigrationState target)
    {
        var set = Machine.Set(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>Goes there if there is such a state; into RESUMING with a whole stream written. False for a state that cannot be reached.</summary>
    public bool TryStand(MigrationState at)
    {
        if (at == MigrationState.Error)
        {
            Machine.Fail();
            return true;
        }

        var set = Machine.Set(at);
        if (set.IsOk && at == MigrationState.Resuming)
            Assert.True(set.Value.Stream!.Write(GoodStream).IsOk);
        return set.IsOk;
    }

    /// <summary>The stream of a network card that has sent three.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    private static byte[] NewGoodStream()
    {
        using var machine = new VirtioMachine().With(3);
        return machine.Save();
    }

    /// <summary>All of a stopped device's stream.</summary>
    public byte[] Save() => SerialMachine.ReadAll(Enter(MigrationState.StopCopy));

    /// <summary>The function is reset, and the machine told of it, as the core's reset does.</summary>
    public void Reset()
    {
        Assert.True(Function.Reset(ResetMethod.FunctionLevel).IsOk);
        TurnOn();
        Machine.Reset();
    }

    public void Dispose() => bus.Dispose();

    private void TurnOn() => Function.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.BusMaster, 0]);
}

/// <summary>A guest's driver of the modern interface, with the last queue of a function in the guest's memory.</summary>
internal sealed class VirtioGuest(IPciFunction function, GuestMemory memory)
{
    private const int Size = 8;
    private const int Descriptors = 0x1000;
    private const int Available = 0x2000;
    private const int Used = 0x3000;
    private const int Buffers = 0x4000;

    private int Queue => function.Ids.Device == VirtioIds.Net ? 1 : 0;

    /// <summary>Buffers that the device has given back.</summary>
    public int Done => BinaryPrimitives.ReadUInt16LittleEndian(memory.Bytes.AsSpan(Used + 2));

    private ushort Sent
    {
        get => BinaryPrimitives.ReadUInt16LittleEndian(memory.Bytes.AsSpan(Available + 2));
        set => BinaryPrimitives.WriteUInt16LittleEndian(memory.Bytes.AsSpan(Available + 2), value);
    }

    public void SetUp()
    {
        Write(VirtioCommon.Status, 1, (int)(VirtioStatus.Acknowledge | VirtioStatus.Driver));
        Write(VirtioCommon.DriverFeatureSelect, 4, 1);
        Write(VirtioCommon.DriverFeature, 4, VirtioFeature.Version1 >> 32);
        Write(VirtioCommon.Status, 1, (int)(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk));
        Write(VirtioCommon.QueueSelect, 2, (ulong)Queue);
        Write(VirtioCommon.QueueSize, 2, Size);
        Write(VirtioCommon.QueueVector, 2, 1);
        Write(VirtioCommon.QueueDescriptors, 8, Descriptors);
        Write(VirtioCommon.QueueDriver, 8, Available);
        Write(VirtioCommon.QueueDevice, 8, Used);
        Write(VirtioCommon.QueueEnable, 2, 1);
        Write(VirtioCommon.Status, 1, (int)(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk | VirtioStatus.DriverOk));
    }

    /// <summary>Makes one buffer of 16 bytes available that the device may write, and tells it.</summary>
    public void Send()
    {
        Put();
        Notify();
    }

    /// <summary>The same without telling it.</summary>
    public void Put()
    {
        var slot = Sent % Size;
        var descriptor = memory.Bytes.AsSpan(Descriptors + (VirtioRing.DescriptorBytes * slot), VirtioRing.DescriptorBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor, (ulong)(Buffers + (16 * slot)));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], 16);
        BinaryPrimitives.WriteUInt16LittleEndian(descriptor[12..], VirtioRing.DeviceWrites);
        memory.Bytes.AsSpan(Buffers + (16 * slot), 16).Fill(0xee);
        BinaryPrimitives.WriteUInt16LittleEndian(memory.Bytes.AsSpan(Available + VirtioRing.AvailableHeader + (2 * slot)), (ushort)slot);
        Sent++;
    }

    public void Notify() => Assert.True(function.WriteRegion(VirtioBar.Modern, VirtioBar.Notify, BitConverter.GetBytes((ushort)Queue)).IsOk);

    private void Write(int offset, int length, ulong value) =>
        Assert.True(function.WriteRegion(VirtioBar.Modern, (ulong)offset, BitConverter.GetBytes(value).AsSpan(0, length)).IsOk);
}
