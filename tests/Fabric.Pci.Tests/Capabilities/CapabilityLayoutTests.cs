using Fabric.Pci.Capabilities;

namespace Fabric.Pci.Tests.Capabilities;

/// <summary>What capabilities say of themselves. The bytes of each case are those of the capability, in hexadecimal.</summary>
public sealed class CapabilityLayoutTests
{
    private const int At = 0x40;

    [Theory]
    [InlineData("01", 8)]
    [InlineData("02", 12)]
    [InlineData("03", 8)]
    [InlineData("05 00 0000", 10)]
    [InlineData("05 00 8000", 14)]
    [InlineData("05 00 0001", 20)]
    [InlineData("05 00 8001", 24)]
    [InlineData("07 00 0000", 8)]
    [InlineData("07 00 0010", 24)]
    [InlineData("08 00 0000", 28)]
    [InlineData("08 00 0008", 28)]
    [InlineData("08 00 0080", 24)]
    [InlineData("09 00 14", 20)]
    [InlineData("09 00 00", 0)]
    [InlineData("10 00 0100", 20)]
    [InlineData("10 00 9100", 12)]
    [InlineData("10 00 0200", 52)]
    [InlineData("10 00 9200", 44)]
    [InlineData("11", 12)]
    [InlineData("12 00 1000 02", 8)]
    [InlineData("12 00 1000 0f", 16)]
    [InlineData("13", 6)]
    [InlineData("14", 0)]
    public void A_standard_capability_is_as_long_as_it_says_CF_32_CF_36_CF_40(string bytes, int length) =>
        Assert.Equal(length, CapabilityLength.Standard(Holding(bytes, At), At));

    [Theory]
    [InlineData("0100", 44)]
    [InlineData("0200 0000 00000000 00000000", 28)]
    [InlineData("0200 0000 01000000 00000000", 40)]
    [InlineData("0200 0000 00000000 02000000", 48)]
    [InlineData("0200 0000 00000000 04000000", 64)]
    [InlineData("0200 0000 00000000 08000000", 96)]
    [InlineData("0300", 12)]
    [InlineData("0400", 16)]
    [InlineData("0b00 0000 0100c000", 12)]
    [InlineData("0d00 0000 0000", 8)]
    [InlineData("0d00 0000 2008", 12)]
    [InlineData("0d00 0000 2021", 16)]
    [InlineData("0d00 0000 2000", 40)]
    [InlineData("0e00", 8)]
    [InlineData("0f00", 8)]
    [InlineData("1000", 64)]
    [InlineData("1200", 48)]
    [InlineData("1300", 16)]
    [InlineData("1500 0000 00000000 20", 12)]
    [InlineData("1500 0000 00000000 c0", 52)]
    [InlineData("1600 0000 1f", 48)]
    [InlineData("1700 0000 00000000", 12)]
    [InlineData("1700 0000 00020100", 16)]
    [InlineData("1800", 8)]
    [InlineData("2300 0000 86808001", 24)]
    [InlineData("1b00", 0)]
    public void An_extended_capability_is_as_long_as_it_says_CF_50_CF_51(string bytes, int length) =>
        Assert.Equal(length, CapabilityLength.Extended(Holding(bytes, 0x100), 0x100));

    [Fact]
    public void No_capability_is_longer_than_the_room_there_is()
    {
        Assert.Equal(4, CapabilityLength.Standard(Holding("10 00 0200", 0xfc), 0xfc));
        Assert.Equal(4, CapabilityLength.Extended(Holding("1000", 0xffc), 0xffc));
    }

    [Fact]
    public void Power_management_says_which_states_there_are_and_whether_D3_forgets() =>
        Assert.Equal(new PowerManagementCapability(At, true, false, true), PowerManagementCapability.Parse(Holding("01 00 0302 0800", At), At));

    [Theory]
    [InlineData("05 00 0000", 1, false, false)]
    [InlineData("05 00 8a01", 32, true, true)]
    [InlineData("05 00 0e00", 32, false, false)]
    public void MSI_says_how_many_vectors_it_can_use_IO_30(string bytes, int vectors, bool is64Bit, bool hasMask) =>
        Assert.Equal(new MsiCapability(At, vectors, is64Bit, hasMask), MsiCapability.Parse(Holding(bytes, At), At));

    [Theory]
    [InlineData("05 00 0000", 8, 12)]
    [InlineData("05 00 8000", 12, 16)]
    public void The_data_of_MSI_is_behind_its_address_and_the_mask_behind_that(string bytes, int data, int mask)
    {
        var msi = MsiCapability.Parse(Holding(bytes, At), At);

        Assert.Equal((data, mask), (msi.Data, msi.Mask));
    }

    [Fact]
    public void MSI_X_says_where_its_table_and_its_pending_bits_are_IO_30()
    {
        var msix = MsixCapability.Parse(Holding("11 00 ff07 04200000 03008000", At), At);

        Assert.Equal(new MsixCapability(At, 2048, 4, 0x2000, 3, 0x0080_0000), msix);
        Assert.Equal(2048 * 16, msix.TableBytes);
    }

    [Fact]
    public void PCI_Express_says_what_the_function_is_and_whether_it_has_FLR_CF_33() =>
        Assert.Equal(
            new PciExpressCapability(At, 2, PciExpressType.RootComplexEndpoint, true),
            PciExpressCapability.Parse(Holding("10 00 9200 00000010", At), At));

    [Theory]
    [InlineData("13 00 06 03", true)]
    [InlineData("13 00 06 02", false)]
    [InlineData("13 00 06 01", false)]
    public void AF_has_FLR_where_it_can_also_say_that_transactions_are_pending_CF_35(string bytes, bool hasReset) =>
        Assert.Equal(hasReset, AdvancedFeaturesCapability.Parse(Holding(bytes, At), At).HasFunctionLevelReset);

    [Fact]
    public void SR_IOV_says_how_many_VFs_there_can_be_and_where()
    {
        var bytes = "1000 0100 00000000 00000000 0800 1000 0400 0000 8000 0200 0000 cdab";

        Assert.Equal(new SriovCapability(0x100, 8, 16, 0x80, 2, 0xabcd), SriovCapability.Parse(Holding(bytes, 0x100), 0x100));
    }

    private static byte[] Holding(string bytes, int at)
    {
        var config = new byte[ConfigOffset.ExtendedSize];
        Convert.FromHexString(bytes.Replace(" ", "", StringComparison.Ordinal)).CopyTo(config, at);
        return config;
    }
}
