using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>
/// Hardware that is its config space. Every bit can be written, so that what should not have been written shows, but those that ones
/// clear. It throws where the port's promises to it are broken.
/// </summary>
internal sealed class ConfigFunction(byte[] config) : IPciFunction, IFunctionInterrupts
{
    private readonly byte[] clearedByOne = new byte[config.Length];

    public byte[] Config => config;

    /// <summary>Every write, in order.</summary>
    public List<(int Offset, byte[] Bytes)> Writes { get; } = [];

    /// <summary>What an effect of the core saw of hardware, for tests of order.</summary>
    public Action<int> BeforeWrite { get; set; } = _ => { };

    public int Reads { get; private set; }

    public PciAddress Address => new(0, 0x3b, 0, 2);

    public PciIds Ids { get; set; } = new(0x1b36, 0xfab0);

    public FunctionTraits Traits { get; set; }

    public int ConfigSize => config.Length;

    public PciBar[] Bars { get; set; } = new PciBar[6];

    IReadOnlyList<PciBar> IPciFunction.Bars => Bars;

    public PciRom Rom { get; set; }

    public IReadOnlyList<string> ResetMethods => ["flr"];

    IFunctionInterrupts IPciFunction.Interrupts => this;

    public bool HasLine { get; set; } = true;

    public bool CanGrowMsix => false;

    /// <summary>Offset of a VPD capability that answers; it has no content but <see cref="Vpd"/>.</summary>
    public int? AnsweringVpd { get; set; }

    public byte[] Vpd { get; } = [.. Enumerable.Range(0, 0x8000).Select(i => (byte)((i * 13) + 5))];

    /// <summary>How many looks at the flag it takes until VPD has answered.</summary>
    public int VpdDelay { get; set; }

    private int vpdWait;

    public byte ClearedByOne(int at) => clearedByOne[at];

    public uint Dword(int at) => BinaryPrimitives.ReadUInt32LittleEndian(config.AsSpan(at));

    public ushort Word(int at) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(at));

    public void PutDword(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(at), value);

    public void PutWord(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(at), value);

    public ConfigFunction ClearsByOne(int at, int width, uint bits)
    {
        for (var i = 0; i < width; i++)
            clearedByOne[at + i] = (byte)(bits >> (8 * i));
        return this;
    }

    public void ReadConfig(int offset, Span<byte> destination)
    {
        Reads++;
        if (AnsweringVpd is { } vpd && offset == vpd + VitalProductData.Address && vpdWait > 0 && --vpdWait == 0)
            Answer(vpd);
        config.AsSpan(offset, destination.Length).CopyTo(destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (source.Length is not (1 or 2 or 4) || offset % source.Length != 0)
            throw new InvalidOperationException($"A write of {source.Length} bytes at 0x{offset:x} is not naturally aligned.");
        BeforeWrite(offset);
        Writes.Add((offset, source.ToArray()));
        for (var i = 0; i < source.Length; i++)
        {
            var mask = clearedByOne[offset + i];
            ref var at = ref config[offset + i];
            at = (byte)((at & mask & ~source[i]) | (source[i] & ~mask));
        }

        if (AnsweringVpd is { } vpd && offset <= vpd + 3 && vpd + 3 < offset + source.Length)
        {
            vpdWait = VpdDelay;
            if (vpdWait == 0)
                Answer(vpd);
        }
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => VfioResult.Ok;

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

    public VfioResult Reset(string method) => VfioResult.Ok;

    public void ConnectDma(IDmaSpace? space)
    {
    }

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive) => VfioResult.Ok;

    public void DisconnectLine()
    {
    }

    public void MaskLine(bool masked)
    {
    }

    public VfioResult<int> Allocate(IrqIndex type, int count) => count;

    public VfioResult Grow(int vector) => VfioResult.Ok;

    public void Free()
    {
    }

    public VfioResult Connect(int vector, IEventTarget handler) => VfioResult.Ok;

    public void Disconnect(int vector)
    {
    }

    private void Answer(int vpd)
    {
        var address = Word(vpd + VitalProductData.Address);
        var data = Vpd.AsSpan(address & ~VitalProductData.Flag & ~3, 4);
        if ((address & VitalProductData.Flag) == 0)
            data.CopyTo(config.AsSpan(vpd + VitalProductData.Data));
        else
            config.AsSpan(vpd + VitalProductData.Data, 4).CopyTo(data);
        PutWord(vpd + VitalProductData.Address, (ushort)(address ^ VitalProductData.Flag));
    }
}
