using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Tests;

/// <summary>A function as it is, but for what a test does when it is reset, read or written to.</summary>
internal sealed class TappedFunction(IPciFunction inner) : IPciFunction
{
    public Action OnReset { get; set; } = () => { };

    public Func<VfioResult> OnRead { get; set; } = () => VfioResult.Ok;

    public Func<VfioResult> OnWrite { get; set; } = () => VfioResult.Ok;

    public PciAddress Address => inner.Address;

    public PciIds Ids => inner.Ids;

    public FunctionTraits Traits => inner.Traits;

    public PciAddress? PhysicalFunction => inner.PhysicalFunction;

    public int? IommuGroup => inner.IommuGroup;

    public int ConfigSize => inner.ConfigSize;

    public IReadOnlyList<PciBar> Bars => inner.Bars;

    public IReadOnlyList<string> ResetMethods => inner.ResetMethods;

    public IFunctionPlatform Platform => inner.Platform;

    public void ReadConfig(int offset, Span<byte> destination) => inner.ReadConfig(offset, destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => inner.WriteConfig(offset, source);

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        var tapped = OnRead();
        return tapped.IsOk ? inner.ReadRegion(region, offset, destination) : tapped;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        var tapped = OnWrite();
        return tapped.IsOk ? inner.WriteRegion(region, offset, source) : tapped;
    }

    public VfioResult Reset(string method)
    {
        OnReset();
        return inner.Reset(method);
    }

    public void ConnectDma(IDmaSpace? space) => inner.ConnectDma(space);
}
