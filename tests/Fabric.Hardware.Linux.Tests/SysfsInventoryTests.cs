using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

public sealed class SysfsInventoryTests : IDisposable
{
    private readonly SysfsTree tree = new();

    public void Dispose() => tree.Dispose();

    [Fact]
    public void A_machine_without_PCI_has_no_functions()
    {
        Assert.Empty(tree.Inventory.Enumerate());
        Assert.Empty(tree.Inventory.UnaddressableEntries());
    }

    [Fact]
    public void A_root_that_does_not_exist_has_no_functions() =>
        Assert.Empty(new SysfsInventory(Path.Combine(tree.Root, "nowhere")).Enumerate());

    [Fact]
    public void Functions_come_in_the_order_of_their_addresses()
    {
        string[] addresses = ["0001:00:00.0", "0000:3b:00.1", "0000:3b:00.0", "0000:00:1f.7"];
        foreach (var address in addresses)
            tree.Add(address);

        Assert.Equal(addresses.Order(StringComparer.Ordinal), tree.Inventory.Enumerate().Select(function => function.Address.ToString()));
    }

    [Fact]
    public void Ids_are_read_from_the_modalias()
    {
        tree.Add("0000:3b:00.0");

        Assert.Equal(new PciIds(0x8086, 0x1889, 0x15b3, 0x0042, 0x020801), Only().Ids);
    }

    [Fact]
    public void The_driver_is_the_one_that_the_link_points_to()
    {
        tree.Add("0000:3b:00.0").Link("driver", "../../../bus/pci/drivers/vfio-pci");

        Assert.Equal("vfio-pci", Only().DriverName);
    }

    [Fact]
    public void A_function_without_a_driver_has_none()
    {
        tree.Add("0000:3b:00.0").Without("driver");

        Assert.Null(Only().DriverName);
    }

    [Fact]
    public void The_IOMMU_group_is_the_number_that_the_link_points_to()
    {
        tree.Add("0000:3b:00.0").Link("iommu_group", "../../../kernel/iommu_groups/117");

        Assert.Equal(117, Only().IommuGroup);
    }

    [Fact]
    public void A_function_without_an_IOMMU_has_no_group()
    {
        tree.Add("0000:3b:00.0");

        Assert.Null(Only().IommuGroup);
    }

    [Theory]
    [InlineData("-1", null)]
    [InlineData("0", 0)]
    [InlineData("3", 3)]
    public void The_NUMA_node_is_null_where_the_kernel_says_minus_one(string text, int? expected)
    {
        tree.Add("0000:3b:00.0").Attribute("numa_node", text);

        Assert.Equal(expected, Only().NumaNode);
    }

    [Fact]
    public void A_kernel_without_NUMA_has_no_node_and_nothing_is_amiss()
    {
        tree.Add("0000:3b:00.0").Without("numa_node");

        Assert.Null(Only().NumaNode);
        Assert.Empty(Only().Unreadable);
    }

    [Theory]
    [InlineData("flr", new[] { "flr" })]
    [InlineData("device_specific flr pm bus", new[] { "device_specific", "flr", "pm", "bus" })]
    [InlineData("", new string[0])]
    public void Reset_methods_are_the_words_of_the_kernel_in_its_order(string text, string[] expected)
    {
        tree.Add("0000:3b:00.0").Attribute("reset_method", text);

        Assert.Equal(expected, Only().ResetMethods);
    }

    [Fact]
    public void A_function_that_cannot_be_reset_has_no_methods()
    {
        tree.Add("0000:3b:00.0");

        Assert.Empty(Only().ResetMethods);
    }

    [Fact]
    public void A_PF_says_how_many_VFs_it_has_and_may_have()
    {
        tree.Add("0000:3b:00.0").Attribute("sriov_totalvfs", "64").Attribute("sriov_numvfs", "8");

        var function = Only();
        Assert.Equal((true, 64, 8), (function.IsPhysicalFunction, function.TotalVfs, function.NumVfs));
    }

    [Fact]
    public void A_function_that_may_have_no_VFs_is_no_PF()
    {
        tree.Add("0000:3b:00.0").Attribute("sriov_totalvfs", "0").Attribute("sriov_numvfs", "0");

        Assert.False(Only().IsPhysicalFunction);
    }

    [Fact]
    public void A_VF_names_its_PF_and_is_none_itself()
    {
        tree.Add("0000:3b:02.1").Link("physfn", "../0000:3b:00.0");

        var function = Only();
        Assert.Equal((false, PciAddress.Parse("0000:3b:00.0")), (function.IsPhysicalFunction, function.PhysicalFunction));
    }

    [Fact]
    public void What_is_no_VF_has_no_PF()
    {
        tree.Add("0000:3b:00.0");

        Assert.Null(Only().PhysicalFunction);
    }

    [Fact]
    public void Bars_are_the_lines_of_the_resource_table_that_have_flags()
    {
        tree.Add("0000:3b:00.0").Attribute("resource", string.Join('\n',
            "0x00000000fd000000 0x00000000fdffffff 0x000000000014220c",
            SysfsTree.EmptyBar,
            "0x0000000000003000 0x000000000000301f 0x0000000000040101",
            "0x00000000fe000000 0x00000000fe003fff 0x0000000000040200",
            SysfsTree.EmptyBar,
            SysfsTree.EmptyBar));

        Assert.Equal(
            [new LinuxBar(0, 0x1000000, 0x14220c), new LinuxBar(2, 0x20, 0x40101), new LinuxBar(3, 0x4000, 0x40200)], Only().Bars);
    }

    [Fact]
    public void The_ROM_and_the_BARs_of_VFs_are_not_BARs_of_the_function()
    {
        tree.Add("0000:3b:00.0").Attribute("resource", string.Join('\n',
            [.. Enumerable.Repeat(SysfsTree.EmptyBar, 6),
            "0x00000000fd000000 0x00000000fd0fffff 0x0000000000046200",
            "0x00000000fe000000 0x00000000fe0fffff 0x0000000000140204"]));

        Assert.Empty(Only().Bars);
    }

    [Theory]
    [InlineData("0x0000000000000000 0xffffffffffffffff 0x0000000000040200")]
    [InlineData("0x0000000000001000 0x0000000000000fff 0x0000000000040200")]
    [InlineData("0x0000000000001000 0x0000000000000000 0x0000000000040200")]
    public void A_BAR_that_the_kernel_has_emptied_is_left_out(string line)
    {
        tree.Add("0000:3b:00.0").Attribute("resource", line);

        Assert.Empty(Only().Bars);
        Assert.Empty(Only().Unreadable);
    }

    [Fact]
    public void The_flags_of_a_BAR_say_what_kind_it_is()
    {
        var io = new LinuxBar(0, 0x20, 0x40101);
        var memory = new LinuxBar(2, 0x1000, 0x14220c);

        Assert.Equal((true, false, false, false), (io.IsIo, io.IsMemory, io.IsPrefetchable, io.Is64Bit));
        Assert.Equal((false, true, true, true), (memory.IsIo, memory.IsMemory, memory.IsPrefetchable, memory.Is64Bit));
    }

    [Fact]
    public void A_function_that_can_be_read_has_nothing_unreadable()
    {
        tree.Add("0000:3b:00.0");

        Assert.Empty(Only().Unreadable);
    }

    [Theory]
    [InlineData("modalias")]
    [InlineData("resource")]
    [InlineData("numa_node")]
    [InlineData("reset_method")]
    [InlineData("sriov_totalvfs")]
    [InlineData("driver")]
    [InlineData("iommu_group")]
    [InlineData("physfn")]
    public void An_attribute_that_cannot_be_read_is_named_and_the_rest_is_there(string name)
    {
        tree.Add("0000:3b:00.0").Unreadable(name);

        Assert.Equal([name], Only().Unreadable.Select(attribute => attribute.Name));
    }

    [Fact]
    public void The_number_of_VFs_of_a_PF_may_be_unreadable_too()
    {
        tree.Add("0000:3b:00.0").Attribute("sriov_totalvfs", "64").Unreadable("sriov_numvfs");

        Assert.Equal(["sriov_numvfs"], Only().Unreadable.Select(attribute => attribute.Name));
    }

    [Theory]
    [InlineData("modalias")]
    [InlineData("resource")]
    public void An_attribute_that_every_function_has_is_unreadable_when_it_is_missing(string name)
    {
        tree.Add("0000:3b:00.0").Without(name);

        var attribute = Assert.Single(Only().Unreadable);
        Assert.Equal(name, attribute.Name);
        Assert.NotEmpty(attribute.Reason);
    }

    [Theory]
    [InlineData("modalias", "", "Its text is not the modalias of a PCI function.")]
    [InlineData("modalias", "usb:v1D6Bp0002d0618dc09", "Its text is not the modalias of a PCI function.")]
    [InlineData("modalias", "pci:v00018086d00001889sv00000000sd00000000bc02sc00i00", "Its text is not the modalias of a PCI function.")]
    [InlineData("modalias", "pci:v00008086d00001889sv00000000sd00000000bc02sc00i0", "Its text is not the modalias of a PCI function.")]
    [InlineData("modalias", "pci:v00008086d00001889sv00000000sd00000000bc02sc00i00x", "Its text is not the modalias of a PCI function.")]
    [InlineData("resource", "0x0 0x0", "Its line 1 is not three hexadecimal numbers: start, end and flags.")]
    [InlineData("resource", "0x0 0x0 0x0\n0x0 zero 0x0", "Its line 2 is not three hexadecimal numbers: start, end and flags.")]
    [InlineData("resource", "0x0 0x0 0x0 0x0", "Its line 1 is not three hexadecimal numbers: start, end and flags.")]
    [InlineData("numa_node", "none", "Its text is not a number.")]
    [InlineData("sriov_totalvfs", "99999999999", "Its text is not a number.")]
    public void An_attribute_with_a_strange_text_is_named_with_what_is_wrong(string name, string text, string reason)
    {
        tree.Add("0000:3b:00.0").Attribute(name, text);

        Assert.Equal([new UnreadableAttribute(name, reason)], Only().Unreadable);
    }

    [Theory]
    [InlineData("iommu_group", "It does not point to a number.")]
    [InlineData("physfn", "It does not point to a PCI address.")]
    public void A_link_to_something_strange_is_named_with_what_is_wrong(string name, string reason)
    {
        tree.Add("0000:3b:00.0").Link(name, "../somewhere");

        Assert.Equal([new UnreadableAttribute(name, reason)], Only().Unreadable);
    }

    [Fact]
    public void A_function_that_went_away_while_it_was_read_is_left_out()
    {
        tree.Add("0000:3b:00.0");
        tree.Link("0000:3b:00.1", "../../../devices/pci0000:00/0000:3b:00.1");

        Assert.Equal("0000:3b:00.0", Only().Address.ToString());
    }

    [Theory]
    [InlineData("10000:e1:00.0")]
    [InlineData("3b:00.0")]
    [InlineData("0000:3B:00.0")]
    [InlineData("pci_0000_3b_00_0")]
    public void An_entry_that_is_no_address_as_the_kernel_prints_it_is_passed_over_and_named(string entry)
    {
        tree.Add(entry);

        Assert.Empty(tree.Inventory.Enumerate());
        Assert.Equal([entry], tree.Inventory.UnaddressableEntries());
    }

    [Fact]
    public void Two_thousand_functions_take_less_than_a_second_of_processor_time()
    {
        var function = tree.Add("0000:00:00.0");
        for (var id = 1; id <= 2000; id++)
            tree.Link(PciAddress.FromRoutingId(1, (ushort)id).ToString(), function.Folder);

        // Not the time of day: a busy machine stretches that without end.
        var before = Environment.CpuUsage.TotalTime;
        var found = tree.Inventory.Enumerate();
        var taken = Environment.CpuUsage.TotalTime - before;

        Assert.Equal(2001, found.Count);
        Assert.InRange(taken, TimeSpan.Zero, TimeSpan.FromSeconds(1));
    }

    private LinuxPciFunction Only() => Assert.Single(tree.Inventory.Enumerate());
}
