using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

public sealed class ConfigSnapshotTests
{
    private const int Pm = 0x40;
    private const int Msi = 0x50;
    private const int Express = 0x70;
    private const int Msix = 0xb0;
    private const int Aer = 0x100;
    private const int Sriov = 0x200;

    private readonly ConfigFunction function = new ConfigBuilder()
        .Word(ConfigOffset.Command, 0x0406)
        .Dword(ConfigOffset.Bar0, 0xf000_000c).Dword(ConfigOffset.Bar0 + 4, 0x40).Dword(ConfigOffset.RomBar, 0xfe00_0001)
        .Standard(StandardCapability.PowerManagement, Pm, 0x03, 0x00, 0x00, 0x13)
        .Standard(StandardCapability.Msi, Msi, 0x8b, 0x01).Dword(Msi + 4, 0xfee0_0000).Word(Msi + 12, 0x4021).Dword(Msi + 16, 3)
        .Standard(StandardCapability.PciExpress, Express, ConfigBuilder.Express2).Word(Express + 8, 0x2957)
        .Standard(StandardCapability.Msix, Msix, 0x1f, 0xc0)
        .Extended(ExtendedCapability.Aer, Aer).Dword(Aer + 8, 0x0040_0000).Dword(Aer + 0x18, 0x0000_0140)
        .Extended(ExtendedCapability.Sriov, Sriov).Word(Sriov + 8, 0x0009).Word(Sriov + 0x10, 4)
        .Build();

    [Fact]
    public void What_a_reset_took_is_given_back_LC_65_IO_51()
    {
        var before = (byte[])function.Config.Clone();
        var snapshot = ConfigSnapshot.Save(function);
        HardReset();

        snapshot.Restore(function);

        Assert.Equal(before, function.Config);
    }

    [Fact]
    public void BARs_are_given_back_first_and_COMMAND_last_LC_65()
    {
        var snapshot = ConfigSnapshot.Save(function);
        HardReset();

        snapshot.Restore(function);

        var order = function.Writes.ConvertAll(write => write.Offset);
        Assert.Equal((ConfigOffset.Bar0, ConfigOffset.Command), (order[0], order[^1]));
    }

    [Theory]
    [InlineData(Msi + 4, Msi + 2)]
    [InlineData(Msi + 16, Msi + 2)]
    [InlineData(Sriov + 0x10, Sriov + 8)]
    public void What_turns_a_thing_on_is_given_back_after_what_it_needs_LC_65(int earlier, int later)
    {
        var snapshot = ConfigSnapshot.Save(function);
        HardReset();

        snapshot.Restore(function);

        var order = function.Writes.ConvertAll(write => write.Offset);
        Assert.InRange(order.IndexOf(earlier), 0, order.IndexOf(later) - 1);
    }

    [Fact]
    public void Nothing_is_written_that_is_what_it_was_LC_65()
    {
        ConfigSnapshot.Save(function).Restore(function);

        Assert.Empty(function.Writes);
    }

    [Fact]
    public void Errors_that_came_meanwhile_are_not_cleared_LC_65()
    {
        CapabilitySamples.ClearByOneInHeader(function);
        function.ClearsByOne(Pm + 4, 2, 0x8000).ClearsByOne(Aer + 4, 4, uint.MaxValue).ClearsByOne(Express + 0x0a, 2, 0x000f);
        var snapshot = ConfigSnapshot.Save(function);
        function.PutDword(ConfigOffset.Command, 0xf900_0000);
        function.PutWord(Pm + 4, 0x8000);
        function.PutDword(Aer + 4, 0x0010_0000);
        function.PutDword(Express + 8, 0x000f_0000);

        snapshot.Restore(function);

        Assert.Equal((0xf900, 0x9300, 0x0010_0000u, 0x000f),
            (function.Word(ConfigOffset.Status), function.Word(Pm + 4), function.Dword(Aer + 4), function.Word(Express + 0x0a)));
    }

    [Fact]
    public void The_power_state_is_not_given_back_LC_65()
    {
        function.PutWord(Pm + 4, 0x1303);
        var snapshot = ConfigSnapshot.Save(function);
        function.PutWord(Pm + 4, 0x0000);

        snapshot.Restore(function);

        Assert.Equal(0x1300, function.Word(Pm + 4));
    }

    private void HardReset()
    {
        function.PutWord(ConfigOffset.Command, 0);
        foreach (var at in (int[])[ConfigOffset.Bar0, ConfigOffset.Bar0 + 4, ConfigOffset.RomBar, Msi + 4, Msi + 16, Aer + 8, Aer + 0x18])
            function.PutDword(at, 0);
        function.PutWord(Pm + 4, 0);
        function.PutWord(Msi + 2, 0x018a);
        function.PutWord(Msi + 12, 0);
        function.PutWord(Express + 8, 0x2810);
        function.PutWord(Msix + 2, 0x001f);
        function.PutWord(Sriov + 8, 0);
        function.PutWord(Sriov + 0x10, 0);
    }
}
