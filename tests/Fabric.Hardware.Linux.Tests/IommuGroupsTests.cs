namespace Fabric.Hardware.Linux.Tests;

public sealed class IommuGroupsTests : IDisposable
{
    private readonly SysfsTree tree = new();

    public void Dispose() => tree.Dispose();

    [Fact]
    public void A_group_that_is_not_there_has_nobody_in_the_way() => Assert.Empty(new IommuGroups(tree.Root).InTheWayOf(7));

    [Fact]
    public void Whoever_has_a_driver_of_the_host_is_in_the_way()
    {
        Add("0000:07:00.0", "shpchp");
        Add("0000:08:02.0", "e1000e");

        Assert.Equal([new InTheWay("0000:07:00.0", "shpchp"), new InTheWay("0000:08:02.0", "e1000e")], new IommuGroups(tree.Root).InTheWayOf(7));
    }

    [Theory]
    [InlineData("vfio-pci")]
    [InlineData("pci-stub")]
    [InlineData("pcieport")]
    [InlineData(null)]
    public void Who_does_no_DMA_of_the_hosts_is_not(string? driver)
    {
        Add("0000:07:00.0", driver);

        Assert.Empty(new IommuGroups(tree.Root).InTheWayOf(7));
    }

    private void Add(string address, string? driver)
    {
        var function = tree.Add(address);
        if (driver is null)
            function.Without("driver");
        else
            function.Link("driver", $"../../../bus/pci/drivers/{driver}");
        var devices = Directory.CreateDirectory(Path.Combine(tree.Root, "kernel", "iommu_groups", "7", "devices")).FullName;
        File.CreateSymbolicLink(Path.Combine(devices, address), function.Folder);
    }
}
