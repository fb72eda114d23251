using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

public sealed class PciNamesTests : IDisposable
{
    private const string Database =
        "# A comment, and an empty line.\n" +
        "\n" +
        "8086  Intel Corporation\n" +
        "\t10d3  82574L Gigabit Network Connection\n" +
        "\t\t103c 3250  NC112T\n" +
        "\tzzzz  no number\n" +
        "nonsense\n" +
        "1b36  Red Hat, Inc.\n" +
        "C 02  Network controller\n" +
        "\t00  Ethernet controller\n" +
        "C 08  Generic system peripheral\n";

    private readonly string file = Path.GetTempFileName();
    private readonly PciNames names;

    public PciNamesTests()
    {
        File.WriteAllText(file, Database);
        names = PciNames.Read(file);
    }

    public void Dispose() => File.Delete(file);

    [Theory]
    [InlineData(0x8086, 0x10d3, 0, 0, "Intel Corporation 82574L Gigabit Network Connection")]
    [InlineData(0x8086, 0x10d3, 0x103c, 0x3250, "Intel Corporation 82574L Gigabit Network Connection (NC112T)")]
    [InlineData(0x1b36, 0x10d3, 0, 0, "Red Hat, Inc. device 10d3")]
    [InlineData(0xabcd, 0x10d3, 0, 0, null)]
    public void A_device_has_its_vendors_name_and_its_own(ushort vendor, ushort device, ushort subsystemVendor, ushort subsystem, string? name) =>
        Assert.Equal(name, names.NameOf(new PciIds(vendor, device, subsystemVendor, subsystem)));

    [Theory]
    [InlineData(0x020000u, "Ethernet controller")]
    [InlineData(0x028000u, "Network controller")]
    [InlineData(0x080700u, "Generic system peripheral")]
    [InlineData(0xff0000u, null)]
    public void A_class_has_the_name_of_its_subclass_or_its_own(uint code, string? name) =>
        Assert.Equal(name, names.ClassOf(new PciIds(0x8086, 0x10d3, 0, 0, code)));

    [Fact]
    public void A_file_that_is_too_large_is_none()
    {
        using (var large = File.OpenWrite(file))
            large.SetLength(17 << 20);

        Assert.Throws<IOException>(() => PciNames.Read(file));
    }
}
