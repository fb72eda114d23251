using System.Text;
using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

public class DeviceEventTests
{
    [Fact]
    public void A_function_that_is_bound_is_told_with_its_driver() => Assert.Equal(
        new DeviceEvent("bind", PciAddress.Parse("0000:01:00.0"), "vfio-pci"),
        Parse(
            "bind@/devices/pci0000:00/0000:00:08.0/0000:01:00.0", "ACTION=bind", "DEVPATH=/devices/pci0000:00/0000:00:08.0/0000:01:00.0",
            "SUBSYSTEM=pci", "DRIVER=vfio-pci", "PCI_SLOT_NAME=0000:01:00.0", "SEQNUM=2101"));

    [Fact]
    public void A_function_that_is_gone_has_no_driver() => Assert.Equal(
        new DeviceEvent("remove", PciAddress.Parse("0000:01:00.0"), null),
        Parse("remove@/devices/pci0000:00/0000:01:00.0", "ACTION=remove", "SUBSYSTEM=pci", "PCI_SLOT_NAME=0000:01:00.0"));

    [Theory]
    [InlineData("ACTION=add|SUBSYSTEM=net|INTERFACE=eth0")]
    [InlineData("ACTION=add|SUBSYSTEM=pci")]
    [InlineData("SUBSYSTEM=pci|PCI_SLOT_NAME=0000:01:00.0")]
    [InlineData("ACTION=add|SUBSYSTEM=pci|PCI_SLOT_NAME=nowhere")]
    [InlineData("")]
    [InlineData("=|==|ACTION")]
    public void What_is_not_about_a_function_is_passed_over(string fields) => Assert.Null(Parse(fields.Split('|')));

    private static DeviceEvent? Parse(params string[] fields) => DeviceEvent.Parse(Encoding.UTF8.GetBytes(string.Join('\0', fields) + "\0"));
}
