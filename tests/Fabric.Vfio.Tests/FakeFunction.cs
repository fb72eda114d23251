using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Vfio.Tests;

/// <summary>
/// A function that only remembers: what was done to it and in which order, and what was written where. It throws when the core asks for
/// something that lies outside it, which the port forbids.
/// </summary>
internal sealed class FakeFunction : IPciFunction
{
    public const ushort HardwareVendor = 0x1b36;
    public const ushort HardwareDevice = 0xfab0;

    private readonly byte[] config;
    private readonly Dictionary<(int Bar, ulong Offset), byte> written = [];

    public FakeFunction(bool isVirtual = true, int configSize = ConfigOffset.ExtendedSize)
    {
        Traits = isVirtual ? FunctionTraits.VirtualFunction : FunctionTraits.None;
        config = new byte[configSize];
        Put(ConfigOffset.VendorId, isVirtual ? (ushort)0xffff : HardwareVendor);
        Put(ConfigOffset.DeviceId, isVirtual ? (ushort)0xffff : HardwareDevice);
    }

    /// <summary>"bus-master on", "memory off", "reset", "dma on": what was done to it, as it changed.</summary>
    public List<string> Calls { get; } = [];

    public Func<VfioResult> OnReset { get; set; } = () => VfioResult.Ok;

    public Func<VfioResult> OnBarAccess { get; set; } = () => VfioResult.Ok;

    public IDmaSpace? Dma { get; private set; }

    public PciAddress Address { get; init; } = new(0, 0x3b, 0, 2);

    public PciIds Ids => new(HardwareVendor, HardwareDevice);

    public int ConfigSize => config.Length;

    public ulong[] Bars { get; init; } = [0x1000, 0, 1UL << 33, 0, 0x100, 0];

    IReadOnlyList<PciBar> IPciFunction.Bars => [.. Bars.Select(size => size == 0 ? PciBar.None : new PciBar(BarKind.Memory64, size, Prefetchable: true))];

    public FunctionTraits Traits { get; }

    public int? IommuGroup { get; init; } = 7;

    public IReadOnlyList<string> ResetMethods => ["flr"];

    public ushort Hardware(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(offset));

    public bool Has(PciCommand bit) => (Hardware(ConfigOffset.Command) & (ushort)bit) != 0;

    public void Put(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(offset), value);

    /// <summary>What a BAR byte holds: what was written last, or a pattern of its offset.</summary>
    public byte BarByte(int bar, ulong offset) => written.GetValueOrDefault((bar, offset), (byte)(offset * 7));

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        var before = Hardware(ConfigOffset.Command);
        source.CopyTo(config.AsSpan(offset, source.Length));
        Note(before, PciCommand.BusMaster, "bus-master");
        Note(before, PciCommand.MemorySpace, "memory");
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        MustLieWithin(region, offset, destination.Length);
        for (var i = 0; i < destination.Length; i++)
            destination[i] = BarByte(region, offset + (ulong)i);
        return OnBarAccess();
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        MustLieWithin(region, offset, source.Length);
        for (var i = 0; i < source.Length; i++)
            written[(region, offset + (ulong)i)] = source[i];
        return OnBarAccess();
    }

    public VfioResult Reset(string method)
    {
        Calls.Add("reset");
        var reset = OnReset();
        if (reset.IsOk)
            Put(ConfigOffset.Command, 0);
        return reset;
    }

    public void ConnectDma(IDmaSpace? space)
    {
        Calls.Add(space is null ? "dma off" : "dma on");
        Dma = space;
    }

    private void Note(ushort before, PciCommand bit, string name)
    {
        if (((before ^ Hardware(ConfigOffset.Command)) & (ushort)bit) != 0)
            Calls.Add(Has(bit) ? $"{name} on" : $"{name} off");
    }

    private void MustLieWithin(int bar, ulong offset, int length)
    {
        if (offset > Bars[bar] || (ulong)length > Bars[bar] - offset)
            throw new InvalidOperationException($"BAR {bar} has no {length} bytes at {offset}.");
    }
}
