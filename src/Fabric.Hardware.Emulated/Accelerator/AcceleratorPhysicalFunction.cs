using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>The accelerator's physical function: the parent of its virtual ones, with one BAR of scratch registers and no engine.</summary>
public sealed class AcceleratorPhysicalFunction(PciAddress address) : IPciFunction
{
    private readonly byte[] config = ConfigBytes.Type0(AcceleratorPhysicalIds);
    private readonly byte[] scratch = new byte[AcceleratorRegister.Bytes];

    private static PciIds AcceleratorPhysicalIds =>
        new(AcceleratorIds.Vendor, AcceleratorIds.PhysicalFunction, AcceleratorIds.Vendor, 1, AcceleratorIds.ClassCode);

    public PciAddress Address { get; } = address;

    public PciIds Ids => AcceleratorPhysicalIds;

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars { get; } =
    [
        new(BarKind.Memory64, AcceleratorRegister.Bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None,
    ];

    public FunctionTraits Traits => FunctionTraits.None;

    /// <summary>A group of its own.</summary>
    public int? IommuGroup => Address.RoutingId;

    public IReadOnlyList<string> ResetMethods { get; } = [ResetMethod.FunctionLevel, ResetMethod.Bus];

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => source.CopyTo(config.AsSpan(offset));

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        scratch.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(scratch.AsSpan((int)offset));
        return VfioResult.Ok;
    }

    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "The function has no such reset.");
        Array.Clear(scratch);
        return VfioResult.Ok;
    }

    public void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }
}
