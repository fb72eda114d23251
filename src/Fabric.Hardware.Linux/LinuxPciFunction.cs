using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>One PCI function as sysfs shows it. Whatever <see cref="Unreadable"/> names has its empty value here.</summary>
/// <param name="DriverName">The driver that it is bound to, null if none.</param>
/// <param name="IommuGroup">Null where no IOMMU serves it.</param>
/// <param name="NumaNode">Null where the machine does not say.</param>
/// <param name="ResetMethods">
/// The kernel's words for the resets it will try, in its order: device_specific, acpi, flr, af_flr, pm, bus, cxl_bus. Empty if none.
/// </param>
/// <param name="TotalVfs">The most VFs that it can have; 0 for what is no PF.</param>
/// <param name="NumVfs">The VFs that it has now.</param>
/// <param name="PhysicalFunction">The PF of a VF; null for what is no VF.</param>
/// <param name="Bars">The BARs that it implements, in ascending order.</param>
/// <param name="Unreadable">The attributes that could not be read.</param>
public sealed record LinuxPciFunction(
    PciAddress Address,
    PciIds Ids,
    string? DriverName,
    int? IommuGroup,
    int? NumaNode,
    IReadOnlyList<string> ResetMethods,
    int TotalVfs,
    int NumVfs,
    PciAddress? PhysicalFunction,
    IReadOnlyList<LinuxBar> Bars,
    IReadOnlyList<UnreadableAttribute> Unreadable)
{
    public bool IsPhysicalFunction => TotalVfs > 0;
}

/// <summary>A BAR that a function implements.</summary>
/// <param name="Index">0 to 5; the upper half of a 64-bit BAR has none of its own.</param>
/// <param name="Size">In bytes.</param>
/// <param name="Flags">The kernel's IORESOURCE_* bits, as they are.</param>
public readonly record struct LinuxBar(int Index, ulong Size, ulong Flags)
{
    public bool IsIo => (Flags & 0x100) != 0;

    public bool IsMemory => (Flags & 0x200) != 0;

    public bool IsPrefetchable => (Flags & 0x2000) != 0;

    public bool Is64Bit => (Flags & 0x100000) != 0;
}

/// <summary>A sysfs attribute that could not be read, and why.</summary>
public sealed record UnreadableAttribute(string Name, string Reason);
