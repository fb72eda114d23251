using System.Collections.Immutable;
using System.Globalization;

namespace Fabric.Hardware.Linux;

/// <summary>A device of a group that keeps the group from being opened.</summary>
/// <param name="Function">As sysfs names it.</param>
public sealed record InTheWay(string Function, string Driver);

/// <summary>The IOMMU groups of this machine, as sysfs shows them.</summary>
/// <param name="sysfs">Where sysfs is mounted.</param>
public sealed class IommuGroups(string sysfs = "/sys")
{
    /// <summary>Drivers beside which the kernel takes a group for viable (LC-15): they do no DMA of their own, or are VFIO's.</summary>
    private static readonly ImmutableHashSet<string> Harmless = ["vfio-pci", "pci-stub", "pcieport"];

    /// <summary>Devices whose drivers keep a group from being opened, in the order of their names; empty for a viable one.</summary>
    public ImmutableArray<InTheWay> InTheWayOf(int number)
    {
        var devices = Path.Combine(sysfs, "kernel", "iommu_groups", number.ToString(CultureInfo.InvariantCulture), "devices");
        if (!Directory.Exists(devices))
            return [];
        return
        [
            .. from entry in Directory.EnumerateFileSystemEntries(devices).Order(StringComparer.Ordinal)
               let driver = new FunctionFolder(entry).LinkName("driver")
               where driver is not null && !Harmless.Contains(driver)
               select new InTheWay(Path.GetFileName(entry), driver),
        ];
    }
}
