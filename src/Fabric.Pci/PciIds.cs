using System.Globalization;

namespace Fabric.Pci;

/// <summary>The ids a driver is matched by, from the type-0 header (PCI Local Bus 3.0, 6.1).</summary>
/// <param name="Class">24 bits: base class, sub-class, programming interface.</param>
public readonly record struct PciIds(ushort Vendor, ushort Device, ushort SubsystemVendor = 0, ushort Subsystem = 0, uint Class = 0)
{
    /// <summary><c>vendor:device</c>, four hexadecimal digits each, as lspci -n prints it.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Vendor:x4}:{Device:x4}");
}
