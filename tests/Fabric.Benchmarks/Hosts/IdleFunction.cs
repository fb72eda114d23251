using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Benchmarks.Hosts;

/// <summary>A virtual function with config space of its own and nothing else: it sleeps when nobody uses it, as real ones do.</summary>
internal sealed class IdleFunction : IPciFunction
{
    public const int ConfigBytes = ConfigOffset.ExtendedSize;

    private const byte Power = 0x40;
    private const byte Express = 0x50;

    private static readonly PciBar[] AllBars =
        [new(BarKind.Memory64, 0x4000, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private static readonly string[] Methods = [ResetMethod.FunctionLevel];

    private readonly byte[] config = new byte[ConfigBytes];
    private readonly int index;

    public IdleFunction(int index)
    {
        this.index = index;
        config[ConfigOffset.Status] = (byte)PciStatus.CapabilitiesList;
        config[ConfigOffset.CapabilitiesPointer] = Power;
        (config[Power], config[Power + 1]) = ((byte)StandardCapability.PowerManagement, Express);
        config[Power + PowerManagementCapability.Capabilities] = 3;
        config[Power + PowerManagementCapability.ControlStatus] = (byte)PowerManagementCapability.NoSoftResetBit;
        config[Express] = (byte)StandardCapability.PciExpress;
        config[Express + 2] = 2;
    }

    public PciAddress Address => PciAddress.FromRoutingId((ushort)(0xb000 + (index >> 16)), (ushort)index);

    public PciIds Ids => new(0x1b36, 0xfab1);

    public FunctionTraits Traits => FunctionTraits.VirtualFunction;

    public int? IommuGroup => index;

    public int ConfigSize => ConfigBytes;

    public IReadOnlyList<PciBar> Bars => AllBars;

    public IReadOnlyList<string> ResetMethods => Methods;

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => source.CopyTo(config.AsSpan(offset));

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => VfioResult.Ok;

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

    public VfioResult Reset(string method) => VfioResult.Ok;

    public void ConnectDma(IDmaSpace? space)
    {
        // No engine, no DMA.
    }
}
