using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.Mdpy;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mdev;

/// <summary>
/// A framebuffer in software, in the manner of the kernel's samples/vfio-mdev mdpy: pixels in a BAR, and a capability that says how many. A reset
/// paints it, dark at the top and light at the bottom. It has neither interrupts nor DMA.
/// </summary>
internal sealed class MdpyFunction : EmulatedFunction
{
    private readonly int width;
    private readonly int height;
    private readonly byte[] pixels;

    public MdpyFunction(PciAddress address, int width, int height)
        : base(address, ModelOf(width, height))
    {
        (this.width, this.height) = (width, height);
        pixels = new byte[Bars[MdpyRegion.Framebuffer].Size];
        Paint();
    }

    public override int? IommuGroup => EmulatedBus.GroupNumber(Address.Domain, Address.RoutingId);

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    internal override EmulatedFunction Renew() => new MdpyFunction(Address, width, height);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
            pixels.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
            source.CopyTo(pixels.AsSpan((int)offset));
        return VfioResult.Ok;
    }

    private protected override void OnReset() => Paint();

    private void Paint()
    {
        var stride = width * MdpyCapability.BytesPerPixel;
        for (var row = 0; row < height; row++)
            pixels.AsSpan(row * stride, stride).Fill((byte)(row * 255 / height));
    }

    private static FunctionModel ModelOf(int width, int height)
    {
        var ids = new PciIds(MdpyIds.Vendor, MdpyIds.Device, MdpyIds.SubsystemVendor, MdpyIds.Subsystem, MdpyIds.ClassCode);
        var bytes = MdpyCapability.BytesOf((uint)width, (uint)height);
        PciBar[] bars = [new(BarKind.Memory32, bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];
        var capability = CapabilityLayout.Standard(
            StandardCapability.VendorSpecific,
            MdpyCapability.Bytes,
            new RegisterRow(2, 1, MdpyCapability.Bytes),
            new RegisterRow(MdpyCapability.Format - MdpyCapability.Offset, 4, MdpyCapability.Xrgb8888),
            new RegisterRow(MdpyCapability.Width - MdpyCapability.Offset, 4, (uint)width),
            new RegisterRow(MdpyCapability.Height - MdpyCapability.Offset, 4, (uint)height));
        return DisplayModels.Of(ids, bars, capability);
    }
}
