using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>Which capabilities are seen, and the chains that lead to them (contract §3.5, §3.6).</summary>
public sealed class ChainTests
{
    public static TheoryData<int> VisibleStandard => [.. CapabilitySamples.Standard.Select(sample => sample.Id).Distinct()];

    public static TheoryData<int> HiddenStandard => [.. CapabilitySamples.HiddenStandard];

    public static TheoryData<int> VisibleExtended => [.. CapabilitySamples.Extended.Select(sample => sample.Id).Distinct()];

    public static TheoryData<int> HiddenExtended => [.. CapabilitySamples.HiddenExtended];

    // ---- Standard --------------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(VisibleStandard))]
    public void A_standard_capability_of_the_list_is_visible_CF_3(int id)
    {
        var builder = new ConfigBuilder();
        CapabilitySamples.Standard.First(sample => sample.Id == id).AddTo(builder, 0x60);

        Assert.Equal([(0x60, id)], StandardChain(builder.Open()));
    }

    [Theory]
    [MemberData(nameof(HiddenStandard))]
    public void A_hidden_standard_capability_is_skipped_CF_52(int id)
    {
        var open = new ConfigBuilder()
            .Standard(StandardCapability.Sata, 0x60)
            .Standard((StandardCapability)id, 0x80, 0x08)
            .Standard(StandardCapability.Agp, 0xa0)
            .Open();

        Assert.Equal([(0x60, 0x12), (0xa0, 0x02)], StandardChain(open));
    }

    [Fact]
    public void A_hidden_standard_capability_at_the_head_is_skipped_by_the_capabilities_pointer_CF_52()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.EnhancedAllocation, 0x60).Standard(StandardCapability.Agp, 0xa0).Open();

        Assert.Equal(0xa0u, open.ReadByte(ConfigOffset.CapabilitiesPointer));
    }

    [Fact]
    public void A_vendor_capability_that_says_it_has_no_length_is_hidden_CF_36()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.VendorSpecific, 0x60, 0x00).Standard(StandardCapability.Agp, 0xa0).Open();

        Assert.Equal([(0xa0, 0x02)], StandardChain(open));
    }

    [Fact]
    public void Without_a_visible_capability_STATUS_says_that_there_is_no_list_CF_52()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.SlotIdentification, 0x60).Open();

        Assert.Equal((0u, 0u), (open.ReadWord(ConfigOffset.Status), open.ReadByte(ConfigOffset.CapabilitiesPointer)));
    }

    [Fact]
    public void A_chain_that_loops_ends_for_the_user_CF_52()
    {
        var open = new ConfigBuilder()
            .Standard(StandardCapability.Sata, 0x60).Standard(StandardCapability.Agp, 0xa0).Standard(StandardCapability.Null, 0xc0)
            .Byte(0xa1, 0x60).Open();

        Assert.Equal([(0x60, 0x12), (0xa0, 0x02)], StandardChain(open));
    }

    [Theory]
    [InlineData(0x04)]
    [InlineData(0x3c)]
    [InlineData(0x01)]
    public void A_chain_that_leads_into_the_header_ends_there_CF_52(byte next)
    {
        var open = new ConfigBuilder().Standard(StandardCapability.Sata, 0x60).Byte(0x61, next).Open();

        Assert.Equal([(0x60, 0x12)], StandardChain(open));
    }

    [Fact]
    public void The_reserved_bits_of_a_pointer_are_ignored_CF_52()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.Sata, 0x60).Standard(StandardCapability.Agp, 0xa0).Byte(0x61, 0xa3).Open();

        Assert.Equal([(0x60, 0x12), (0xa0, 0x02)], StandardChain(open));
    }

    [Fact]
    public void A_capability_that_another_one_starts_in_is_cut_there_CF_2()
    {
        var open = new ConfigBuilder()
            .Standard(StandardCapability.VendorSpecific, 0x60, 0x20).Standard(StandardCapability.Sata, 0x68).Open();

        open.Write(0x60, [.. Enumerable.Repeat((byte)0xff, 16)]);

        Assert.Equal([0x62, 0x64], open.Function.Writes.Select(write => write.Offset));
        Assert.Equal([(0x60, 0x09), (0x68, 0x12)], StandardChain(open));
    }

    [Fact]
    public void Of_a_capability_that_is_cut_short_nothing_acts_that_lies_in_another_one_CF_31()
    {
        var open = new ConfigBuilder()
            .Standard(StandardCapability.VitalProductData, 0x60).Standard(StandardCapability.Sata, 0x64).Open();
        open.Function.AnsweringVpd = 0x60;

        open.WriteWord(0x62, 0x0040);

        Assert.Equal([(0x60, 0x03), (0x64, 0x12)], StandardChain(open));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void A_capability_that_runs_past_the_end_of_its_space_is_cut_there_CF_2()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.PciExpress, 0xe0, ConfigBuilder.Express2).Open();

        open.WriteWord(0xe8, 0x800f);

        Assert.Equal((0x000fu, "reset"), (open.ReadWord(0xe8), Assert.Single(open.Effects.Calls)));
    }

    // ---- Extended --------------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(VisibleExtended))]
    public void An_extended_capability_of_the_list_is_visible_CF_3(int id)
    {
        var builder = CapabilitySamples.WithExpress();
        CapabilitySamples.Extended.First(sample => sample.Id == id).AddTo(builder, 0x100);

        Assert.Equal([(0x100, id)], ExtendedChain(builder.Open()));
    }

    [Theory]
    [MemberData(nameof(HiddenExtended))]
    public void A_hidden_extended_capability_in_mid_chain_is_skipped_CF_52(int id)
    {
        var open = CapabilitySamples.WithExpress()
            .Extended(ExtendedCapability.DeviceSerialNumber, 0x100)
            .Extended((ExtendedCapability)id, 0x140, 0x00, 0x00, 0x80, 0x00)
            .Extended(ExtendedCapability.LatencyTolerance, 0x200)
            .Open();

        Assert.Equal([(0x100, 0x03), (0x200, 0x18)], ExtendedChain(open));
    }

    [Fact]
    public void A_hidden_extended_capability_at_the_head_is_a_placeholder_that_leads_on_CF_52()
    {
        var open = CapabilitySamples.WithExpress()
            .Extended(ExtendedCapability.Pasid, 0x100).Extended(ExtendedCapability.L1PmSubstates, 0x120)
            .Extended(ExtendedCapability.LatencyTolerance, 0x200).Open();

        Assert.Equal(0x2000_0000u, open.ReadDword(0x100));
    }

    [Fact]
    public void Without_a_visible_extended_capability_the_first_dword_reads_0_CF_52()
    {
        var open = CapabilitySamples.WithExpress().Extended(ExtendedCapability.Pasid, 0x100).Extended(ExtendedCapability.PrecisionTime, 0x200).Open();

        Assert.Equal(0u, open.ReadDword(0x100));
    }

    [Fact]
    public void What_a_placeholder_shows_cannot_be_written_CF_52()
    {
        var open = CapabilitySamples.WithExpress().Extended(ExtendedCapability.Pasid, 0x100).Open();

        open.WriteDword(0x100, uint.MaxValue);

        Assert.Equal(0u, open.ReadDword(0x100));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void An_extended_chain_that_loops_ends_for_the_user_CF_52()
    {
        var open = CapabilitySamples.WithExpress()
            .Extended(ExtendedCapability.DeviceSerialNumber, 0x100).Extended(ExtendedCapability.LatencyTolerance, 0x200)
            .Dword(0x200, 0x1001_0018).Open();

        Assert.Equal([(0x100, 0x03), (0x200, 0x18)], ExtendedChain(open));
    }

    [Fact]
    public void AER_status_can_be_cleared_by_the_user_CF_50()
    {
        var open = CapabilitySamples.WithExpress().Extended(ExtendedCapability.Aer, 0x100).Open();
        open.Function.ClearsByOne(0x104, 4, AerRegister.UncorrectableErrors);
        open.Function.PutDword(0x104, 0x0010_4000);

        open.WriteDword(0x104, 0x0000_4000);

        Assert.Equal(0x0010_0000u, open.Function.Dword(0x104));
    }

    [Fact]
    public void The_data_select_of_power_budgeting_is_written_and_nothing_else_of_it_CF_51()
    {
        var open = CapabilitySamples.WithExpress().Extended(ExtendedCapability.PowerBudgeting, 0x100).Open();

        open.Write(0x104, [.. Enumerable.Repeat((byte)0xa5, 12)]);

        Assert.Equal((0xa5u, 0u, 0u), (open.Function.Dword(0x104), open.Function.Dword(0x108), open.Function.Dword(0x10c)));
    }

    [Theory]
    [InlineData(ExtendedCapability.Sriov, 64)]
    [InlineData(ExtendedCapability.AlternativeRoutingId, 8)]
    [InlineData(ExtendedCapability.AccessControl, 8)]
    [InlineData(ExtendedCapability.AddressTranslation, 8)]
    [InlineData(ExtendedCapability.PageRequest, 16)]
    [InlineData(ExtendedCapability.ResizableBar, 4)]
    public void What_would_change_the_host_is_read_only_CF_51(ExtendedCapability id, int length)
    {
        var open = CapabilitySamples.WithExpress().Extended(id, 0x100).Open();

        open.Write(0x100, [.. Enumerable.Repeat((byte)0xff, length)]);

        Assert.Empty(open.Function.Writes);
    }

    [Theory]
    [InlineData(ExtendedCapability.VendorSpecific)]
    [InlineData(ExtendedCapability.DesignatedVendorSpecific)]
    public void Vendors_extended_capabilities_are_raw_CF_51(ExtendedCapability id)
    {
        var open = CapabilitySamples.WithExpress().Extended(id, 0x100, 0x00, 0x00, 0xc0, 0x00).Open();

        open.WriteDword(0x108, 0xcafe_f00d);

        Assert.Equal(0xcafe_f00du, open.Function.Dword(0x108));
    }

    // ---- Whether there is an extended space ------------------------------------------------------------------------------------------

    [Fact]
    public void The_extended_space_of_a_function_without_PCI_Express_reads_0_and_is_not_written_CF_53()
    {
        var open = new ConfigBuilder().Extended(ExtendedCapability.Aer, 0x100).Dword(0x800, 0xcafe_f00d).Open();

        open.WriteDword(0x800, 1);

        Assert.Equal((0u, 0u), (open.ReadDword(0x100), open.ReadDword(0x800)));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void The_extended_space_that_starts_with_0_reads_0_CF_53()
    {
        var open = CapabilitySamples.WithExpress().Dword(0x800, 0xcafe_f00d).Open();

        Assert.Equal(0u, open.ReadDword(0x800));
    }

    [Theory]
    [InlineData(0x00, 0u)]
    [InlineData(0x10, 0x0001_0018u)]
    public void PCI_X_has_an_extended_space_from_its_second_version_on_CF_53(byte command, uint header)
    {
        var open = new ConfigBuilder()
            .Standard(StandardCapability.PciX, 0x60, 0x00, command).Extended(ExtendedCapability.LatencyTolerance, 0x100).Open();

        Assert.Equal(header, open.ReadDword(0x100));
    }

    private static IEnumerable<(int, int)> StandardChain(OpenConfig open)
    {
        Assert.NotEqual(0u, open.ReadWord(ConfigOffset.Status) & (uint)PciStatus.CapabilitiesList);
        for (var at = (int)open.ReadByte(ConfigOffset.CapabilitiesPointer); at != 0; at = (int)open.ReadByte(at + 1))
            yield return (at, (int)open.ReadByte(at));
    }

    private static IEnumerable<(int, int)> ExtendedChain(OpenConfig open)
    {
        for (var at = 0x100; at != 0; at = (int)(open.ReadDword(at) >> 20))
            yield return (at, (int)open.ReadWord(at));
    }
}
