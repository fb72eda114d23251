using System.Buffers.Binary;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>An emulated host with cards of the models that a test names, a clock in the hand, and what its bus reported.</summary>
internal sealed class Zoo : IDisposable
{
    public Zoo(params EmulatedCard[] cards)
        : this(new EmulatedBusOptions(0, 3, AcceleratorState.Granule) { Cards = [.. cards] })
    {
    }

    public Zoo(EmulatedBusOptions options)
    {
        Bus = new EmulatedBus(options, Time);
        Bus.ReportTo(Events.Add);
        Devices = new VfioPciDevices(Bus);
    }

    public static Zoo With(string model) => new(new EmulatedCard(model));

    public FakeTimeProvider Time { get; } = new();

    public EmulatedBus Bus { get; }

    public VfioPciDevices Devices { get; }

    public List<BusEvent> Events { get; } = [];

    public IEnumerable<string> Addresses => Bus.Functions.Select(function => function.Address.ToString());

    /// <summary>A function of a card that stands on its own bus.</summary>
    public EmulatedFunction this[string address] => (EmulatedFunction)Bus.Functions.Single(function => function.Address == At(address));

    public EmulatedFunction First => (EmulatedFunction)Bus.Functions[0];

    public static PciAddress At(string address) => PciAddress.Parse(address);

    public VfioPciCore Open(IPciFunction function)
    {
        var core = Devices.Register(function, options: new CoreOptions(EnableSriov: true)).Value;
        Assert.True(core.Open().IsOk);
        return core;
    }

    public void Dispose() => Bus.Dispose();
}

/// <summary>Counts.</summary>
internal sealed class Counter : IEventTarget
{
    private int signals;

    public int Signals => Volatile.Read(ref signals);

    public void Signal() => Interlocked.Increment(ref signals);
}

/// <summary>Config space and BARs by width.</summary>
internal static class Access
{
    public static byte Config8(this IPciFunction function, int offset)
    {
        var value = new byte[1];
        function.ReadConfig(offset, value);
        return value[0];
    }

    public static ushort Config16(this IPciFunction function, int offset)
    {
        var value = new byte[2];
        function.ReadConfig(offset, value);
        return BinaryPrimitives.ReadUInt16LittleEndian(value);
    }

    public static uint Config32(this IPciFunction function, int offset)
    {
        var value = new byte[4];
        function.ReadConfig(offset, value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    public static void Config16(this IPciFunction function, int offset, int value) =>
        function.WriteConfig(offset, BitConverter.GetBytes((ushort)value));

    public static void Config32(this IPciFunction function, int offset, uint value) => function.WriteConfig(offset, BitConverter.GetBytes(value));

    public static PciCommand Command(this IPciFunction function) => (PciCommand)function.Config16(ConfigOffset.Command);

    public static void Command(this IPciFunction function, PciCommand command) => function.Config16(ConfigOffset.Command, (int)command);

    public static Errno Read(this IPciFunction function, int region) => function.ReadRegion(region, 0, new byte[4]).Error.Errno;

    public static uint Read32(this VfioPciCore core, int region, int offset)
    {
        var value = new byte[4];
        Assert.Equal(4, core.Read(region, (ulong)offset, value).Value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    public static void Write32(this VfioPciCore core, int region, int offset, uint value) =>
        Assert.Equal(4, core.Write(region, (ulong)offset, BitConverter.GetBytes(value)).Value);

    public static void WriteCommand(this VfioPciCore core, PciCommand command) =>
        Assert.Equal(2, core.Write(RegionIndex.Config, ConfigOffset.Command, BitConverter.GetBytes((ushort)command)).Value);
}
