using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Tests;

public sealed class FunctionFactsTests : IDisposable
{
    private readonly SysfsTree tree = new();
    private readonly RecordedFunction function;
    private readonly string names;

    public FunctionFactsTests()
    {
        function = tree.Add("0000:3b:00.0");
        names = Path.Combine(tree.Root, "pci.ids");
        File.WriteAllText(names, "8086  Intel Corporation\n\t1889  Ethernet Adaptive Virtual Function\n");
    }

    public void Dispose() => tree.Dispose();

    [Fact]
    public void What_sysfs_does_not_say_is_left_out() =>
        Assert.Equal([new FunctionFact("name", "Intel Corporation Ethernet Adaptive Virtual Function")], Facts());

    [Theory]
    [InlineData("8.0 GT/s PCIe", "8", "8.0 GT/s PCIe", "8", "8.0 GT/s PCIe x8")]
    [InlineData("2.5 GT/s PCIe", "4", "8.0 GT/s PCIe", "8", "2.5 GT/s PCIe x4, of at most 8.0 GT/s PCIe x8")]
    [InlineData("Unknown", "0", "Unknown", "255", null)]
    public void A_link_that_is_less_than_it_could_be_says_so(string speed, string width, string most, string widest, string? told)
    {
        function.Attribute("current_link_speed", speed).Attribute("current_link_width", width)
            .Attribute("max_link_speed", most).Attribute("max_link_width", widest);

        Assert.Equal(told, Facts().FirstOrDefault(static fact => fact.Name == "link").Value);
    }

    [Fact]
    public void Errors_are_counted_with_what_they_were()
    {
        function.Attribute("aer_dev_correctable", "RxErr 0\nBadTLP 2\nTOTAL_ERR_COR 2").Attribute("aer_dev_fatal", "DLP 0\nTOTAL_ERR_FATAL 0");

        Assert.Contains(new FunctionFact("correctable errors", "2 (BadTLP 2)"), Facts());
        Assert.Contains(new FunctionFact("fatal errors", "0"), Facts());
    }

    private IReadOnlyList<FunctionFact> Facts() =>
        FunctionFacts.Read(new FunctionFolder(function.Folder), new PciIds(0x8086, 0x1889), PciNames.Read(names));
}
