using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>Where a driver finds the parts of the modern interface: capabilities of the vendor's own kind (VIRTIO 1.3, 4.1.4).</summary>
internal static class VirtioCapabilities
{
    private const byte Common = 1;
    private const byte Notify = 2;
    private const byte Interrupt = 3;
    private const byte Device = 4;

    public static CapabilityLayout[] Of(int configBytes) =>
    [
        Part(Common, VirtioBar.Common, VirtioCommon.Bytes),
        Part(Notify, VirtioBar.Notify, VirtioBar.NotifyBytes, multiplier: 0),
        Part(Interrupt, VirtioBar.Interrupt, 1),
        Part(Device, VirtioBar.Device, (uint)configBytes),
    ];

    /// <param name="multiplier">Of notification offsets; those of all queues are one where it is 0.</param>
    private static CapabilityLayout Part(byte type, uint offset, uint length, uint? multiplier = null)
    {
        var bytes = multiplier is null ? 16 : 20;
        return CapabilityLayout.Standard(
            StandardCapability.VendorSpecific,
            bytes,
            [
                new RegisterRow(2, 1, (uint)bytes), new RegisterRow(3, 1, type), new RegisterRow(4, 1, VirtioBar.Modern),
                new RegisterRow(8, 4, offset), new RegisterRow(12, 4, length),
                .. multiplier is { } of ? [new RegisterRow(16, 4, of)] : Array.Empty<RegisterRow>(),
            ]);
    }
}
