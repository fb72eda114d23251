using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Benchmarks;

/// <summary>The fastest function there can be: config space and one BAR are arrays. What is measured over it is the core's own cost.</summary>
internal sealed class RegisterFile : IPciFunction
{
    private readonly byte[] config = new byte[ConfigOffset.ExtendedSize];
    private readonly byte[] bar = new byte[0x1000];

    public PciAddress Address => new(0, 0x3b, 0, 0);

    public PciIds Ids => new(0x1b36, 0xfab0);

    public FunctionTraits Traits => FunctionTraits.None;

    public int? IommuGroup => 1;

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars { get; } =
        [new(BarKind.Memory64, 0x1000), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    public IReadOnlyList<string> ResetMethods => ["flr"];

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => source.CopyTo(config.AsSpan(offset));

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        bar.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(bar.AsSpan((int)offset));
        return VfioResult.Ok;
    }

    public VfioResult Reset(string method) => VfioResult.Ok;

    public void ConnectDma(IDmaSpace? space)
    {
        // No engine, no DMA.
    }
}
