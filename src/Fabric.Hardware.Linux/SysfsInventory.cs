using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>
/// The PCI functions of this machine, read from sysfs. Needs no privilege and touches no hardware: it reads what the kernel remembers,
/// never config space, so that a suspended device stays asleep.
/// </summary>
/// <param name="root">Where sysfs is mounted.</param>
public sealed class SysfsInventory(string root = "/sys")
{
    private readonly string devices = Path.Combine(root, "bus", "pci", "devices");

    /// <summary>
    /// Every function that is there now, in the order of their addresses; none where the machine has no PCI. One that goes away
    /// meanwhile is left out.
    /// </summary>
    /// <exception cref="IOException">The list of devices itself cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The list of devices itself may not be read.</exception>
    public IReadOnlyList<LinuxPciFunction> Enumerate()
    {
        var functions = new List<LinuxPciFunction>();
        foreach (var name in Entries())
        {
            if (IsAddress(name, out var address) && Read(address, Path.Combine(devices, name)) is { } function)
                functions.Add(function);
        }

        functions.Sort((a, b) => a.Address.CompareTo(b.Address));
        return functions.AsReadOnly();
    }

    /// <summary>One function as it is now; null where there is none at that address.</summary>
    public LinuxPciFunction? Find(PciAddress function)
    {
        var path = Path.Combine(devices, function.ToString());
        return Directory.Exists(path) ? Read(function, path) : null;
    }

    /// <summary>
    /// Entries that <see cref="Enumerate"/> passes over because a <see cref="PciAddress"/> cannot hold their names: functions behind a
    /// volume management device are in domains above 0xffff.
    /// </summary>
    public IReadOnlyList<string> UnaddressableEntries() =>
        Entries().Where(name => !IsAddress(name, out _)).Order(StringComparer.Ordinal).ToList().AsReadOnly();

    private IEnumerable<string> Entries() => Directory.Exists(devices)
        ? Directory.EnumerateFileSystemEntries(devices).Select(entry => Path.GetFileName(entry))
        : [];

    // The parser is kinder than the kernel's spelling; an entry under another spelling is not the function it seems to name.
    private static bool IsAddress(string name, out PciAddress address) =>
        PciAddress.TryParse(name, out address) && address.ToString() == name;

    private static LinuxPciFunction? Read(PciAddress address, string path)
    {
        var folder = new FunctionFolder(path);
        var totalVfs = folder.OptionalNumber("sriov_totalvfs") ?? 0;
        var function = new LinuxPciFunction(
            address,
            folder.Ids("modalias"),
            folder.LinkName("driver"),
            folder.LinkNumber("iommu_group"),
            folder.OptionalNumber("numa_node") is { } node and >= 0 ? node : null,
            folder.OptionalWords("reset_method"),
            totalVfs,
            totalVfs > 0 ? folder.OptionalNumber("sriov_numvfs") ?? 0 : 0,
            folder.LinkAddress("physfn"),
            folder.Bars("resource"),
            folder.Unreadable);
        return folder.IsGone ? null : function;
    }
}
