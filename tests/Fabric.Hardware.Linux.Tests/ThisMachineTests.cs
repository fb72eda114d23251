using System.Globalization;
using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

/// <summary>The inventory against the functions of the machine that runs the tests, privileged or not.</summary>
public sealed class ThisMachineTests
{
    private const string Devices = "/sys/bus/pci/devices";

    [Fact]
    public void It_has_the_functions_that_are_listed_on_the_bus()
    {
        SkipWithoutPci();
        var inventory = new SysfsInventory();

        Assert.Equal(
            Directory.EnumerateFileSystemEntries(Devices).Select(entry => Path.GetFileName(entry)).Order(StringComparer.Ordinal),
            inventory.Enumerate()
                .Select(function => function.Address.ToString())
                .Concat(inventory.UnaddressableEntries())
                .Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Its_ids_are_those_of_the_attributes_of_one_id_each()
    {
        SkipWithoutPci();

        Assert.All(new SysfsInventory().Enumerate(), function => Assert.Equal(
            new PciIds(
                (ushort)Hex(function.Address, "vendor"),
                (ushort)Hex(function.Address, "device"),
                (ushort)Hex(function.Address, "subsystem_vendor"),
                (ushort)Hex(function.Address, "subsystem_device"),
                Hex(function.Address, "class")),
            function.Ids));
    }

    [Fact]
    public void Every_text_and_link_of_it_is_understood()
    {
        SkipWithoutPci();

        // A sandbox may forbid to read one; what can be read must make sense.
        Assert.DoesNotContain(
            new SysfsInventory().Enumerate().SelectMany(function => function.Unreadable),
            attribute => attribute.Reason.StartsWith("It", StringComparison.Ordinal));
    }

    private static void SkipWithoutPci()
    {
        if (!Directory.Exists(Devices) || !Directory.EnumerateFileSystemEntries(Devices).Any())
            Assert.Skip($"This machine has no PCI functions: {Devices} is missing or empty.");
    }

    private static uint Hex(PciAddress address, string attribute) => uint.Parse(
        File.ReadAllText(Path.Combine(Devices, address.ToString(), attribute)).Trim()[2..],
        NumberStyles.AllowHexSpecifier,
        CultureInfo.InvariantCulture);
}
