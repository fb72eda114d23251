using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Models;

/// <summary>A header and nothing else: there by the hundred thousand, for what a host pays for a function as such.</summary>
internal sealed class NullFunction(PciAddress address) : EmulatedFunction(address, BenchModels.Null)
{
    public override void ConnectDma(IDmaSpace? space)
    {
        // It sends nothing.
    }

    internal override EmulatedFunction Renew() => new NullFunction(Address);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination) => NoBar;

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => NoBar;

    private static VfioResult NoBar => VfioResult.Fail(Errno.EIO, "The function does not decode this BAR.");
}
