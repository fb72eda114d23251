using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>What writes to standard capabilities set off (contract §3.5).</summary>
public sealed class CapabilityTests
{
    private const int At = 0x60;

    // ---- Power management ------------------------------------------------------------------------------------------------------------

    private static OpenConfig PowerManagement() => new ConfigBuilder()
        .Standard(StandardCapability.PowerManagement, At, 0x03, 0xfe, 0x08, 0x81).Open();

    [Fact]
    public void PME_is_hidden_from_the_user_CF_30()
    {
        var open = PowerManagement();

        Assert.Equal((0x0603u, 0x0008u), (open.ReadWord(At + 2), open.ReadWord(At + 4)));
    }

    [Fact]
    public void PME_that_the_user_enables_or_clears_is_dropped_CF_30()
    {
        var open = PowerManagement();
        open.Function.ClearsByOne(At + 4, 2, PowerManagementCapability.PmeStatus);

        open.WriteWord(At + 4, 0xffff);

        Assert.Equal((0xfffc, 0x7efcu), (open.Function.Word(At + 4), open.ReadWord(At + 4)));
    }

    [Theory]
    [InlineData(0, "D0")]
    [InlineData(1, "D1")]
    [InlineData(2, "D2")]
    [InlineData(3, "D3Hot")]
    public void The_power_state_is_acted_on_and_not_written_CF_30_LC_64(uint state, string expected)
    {
        var open = PowerManagement();

        open.WriteWord(At + 4, state);

        Assert.Equal((expected, 0), (Assert.Single(open.Effects.Calls), open.Function.Word(At + 4) & PowerManagementCapability.StateMask));
    }

    [Theory]
    [InlineData(At + 4, 1)]
    [InlineData(At, 8)]
    [InlineData(At + 3, 5)]
    public void The_power_state_is_acted_on_by_whatever_write_has_a_chunk_that_starts_at_PMCSR_CF_5_CF_30(int at, int length)
    {
        var open = PowerManagement();
        var data = new byte[length];
        data[At + 4 - at] = 3;

        open.Write(at, data);

        Assert.Equal(["D3Hot"], open.Effects.Calls);
    }

    [Fact]
    public void The_power_state_is_read_from_hardware_CF_30()
    {
        var open = PowerManagement();
        open.Function.PutWord(At + 4, 3);

        Assert.Equal(3u, open.ReadWord(At + 4));
    }

    // ---- VPD -------------------------------------------------------------------------------------------------------------------------

    private static OpenConfig Vpd(bool answers = true)
    {
        var open = new ConfigBuilder().Standard(StandardCapability.VitalProductData, At).Open();
        open.Function.AnsweringVpd = answers ? At : null;
        return open;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public void VPD_is_read_by_an_address_without_the_flag_which_is_then_set_CF_31(int delay)
    {
        var open = Vpd();
        open.Function.VpdDelay = delay;

        open.WriteWord(At + 2, 0x0140);

        Assert.Equal((0x8140u, BitConverter.ToUInt32(open.Function.Vpd, 0x140)), (open.ReadWord(At + 2), open.ReadDword(At + 4)));
    }

    [Fact]
    public void VPD_is_written_by_an_address_with_the_flag_which_is_then_cleared_CF_31()
    {
        var open = Vpd();
        open.WriteDword(At + 4, 0xcafe_f00d);

        open.WriteWord(At + 2, 0x8010);

        Assert.Equal((0x0010u, 0xcafe_f00du), (open.ReadWord(At + 2), BitConverter.ToUInt32(open.Function.Vpd, 0x10)));
    }

    [Theory]
    [InlineData(0x0010u)]
    [InlineData(0x8010u)]
    public void Of_VPD_that_does_not_answer_the_flag_stays_CF_31(uint address)
    {
        var open = Vpd(answers: false);

        open.WriteWord(At + 2, address);

        Assert.Equal(address, open.ReadWord(At + 2));
    }

    [Fact]
    public void VPD_that_does_not_answer_is_asked_a_bounded_number_of_times_CF_31()
    {
        var open = Vpd(answers: false);
        var before = open.Function.Reads;

        open.WriteWord(At + 2, 0);

        Assert.Equal(VitalProductDataWrites.MostPolls, open.Function.Reads - before);
    }

    [Fact]
    public void A_VPD_address_that_is_not_a_dwords_fails_CF_31()
    {
        var open = Vpd();

        open.WriteWord(At + 2, 0x0002);

        Assert.Equal(0x0002u, open.ReadWord(At + 2));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void Only_the_high_byte_of_the_VPD_address_executes_CF_31()
    {
        var open = Vpd();

        open.WriteByte(At + 2, 0x40);
        open.WriteDword(At + 4, 1);
        var before = open.Function.Writes.Count;
        open.WriteByte(At + 3, 0x01);

        Assert.Equal((0, 0x8140u), (before, open.ReadWord(At + 2)));
    }

    // ---- PCI Express -----------------------------------------------------------------------------------------------------------------

    private const int DeviceControl = At + PciExpressCapability.DeviceControl;

    private static OpenConfig Express(ushort control = 0x2010, bool flr = true) => new ConfigBuilder()
        .Standard(StandardCapability.PciExpress, At, 0x02, 0x00, 0x00, 0x00, 0x00, flr ? (byte)0x10 : (byte)0x00)
        .Word(DeviceControl, control).Open();

    [Fact]
    public void Device_control_is_written_but_for_phantom_functions_CF_32()
    {
        var open = Express(control: 0);

        open.WriteWord(DeviceControl, 0x0f1f);

        Assert.Equal(0x0d1f, open.Function.Word(DeviceControl));
    }

    [Fact]
    public void Device_control_2_is_written_but_for_ARI_CF_32()
    {
        var open = Express();

        open.WriteWord(At + PciExpressCapability.DeviceControl2, 0xffff);

        Assert.Equal(0xffdf, open.Function.Word(At + PciExpressCapability.DeviceControl2));
    }

    [Theory]
    [InlineData(PciExpressCapability.DeviceStatus, 2)]
    [InlineData(PciExpressCapability.DeviceControl, 4)]
    public void Device_status_cannot_be_cleared_even_by_a_write_that_goes_across_device_control_CF_32(int register, int length)
    {
        var open = Express();
        open.Function.ClearsByOne(At + PciExpressCapability.DeviceStatus, 2, 0x000f);
        open.Function.PutWord(At + PciExpressCapability.DeviceStatus, 0x000f);

        open.Write(At + register, [.. Enumerable.Repeat((byte)0x0f, length)]);

        Assert.Equal(0x000f, open.Function.Word(At + PciExpressCapability.DeviceStatus));
    }

    [Fact]
    public void FLR_resets_the_function_and_always_reads_0_CF_33()
    {
        var open = Express();

        open.WriteWord(DeviceControl, 0xa010);

        Assert.Equal(("reset", 0x2010u), (Assert.Single(open.Effects.Calls), open.ReadWord(DeviceControl)));
    }

    [Fact]
    public void FLR_is_never_written_to_hardware_CF_33()
    {
        var open = Express();

        open.WriteWord(DeviceControl, 0xa010);

        Assert.Equal(0x2010, open.Function.Word(DeviceControl));
    }

    [Fact]
    public void FLR_of_a_function_without_it_does_nothing_and_reads_0_CF_33()
    {
        var open = Express(flr: false);

        open.WriteWord(DeviceControl, 0xa010);

        Assert.Equal((0, 0x2010u), (open.Effects.Calls.Count, open.ReadWord(DeviceControl)));
    }

    [Theory]
    [InlineData(0x0000u, 0x3000, 0x3000)]
    [InlineData(0x0020u, 0x0000, 0x1000)]
    [InlineData(0x0040u, 0x1000, 0x2000)]
    [InlineData(0x0040u, 0x5000, 0x5000)]
    [InlineData(0x0000u, 0x0000, 0x0000)]
    public void A_read_request_size_is_programmed_but_never_below_the_payload_size_CF_34(uint payload, int asked, int programmed)
    {
        var open = Express(control: (ushort)(0x4000 | payload));

        open.WriteWord(DeviceControl, (uint)asked);

        Assert.Equal((programmed, (uint)asked), (open.Function.Word(DeviceControl) & 0x7000, open.ReadWord(DeviceControl) & 0x7000));
    }

    [Fact]
    public void A_read_request_size_that_is_reserved_stays_in_the_shadow_CF_34()
    {
        var open = Express();

        open.WriteWord(DeviceControl, 0x7010);

        Assert.Equal((0x2010, 0x7010u), (open.Function.Word(DeviceControl), open.ReadWord(DeviceControl)));
    }

    [Fact]
    public void A_read_request_size_that_stays_the_same_is_not_programmed_CF_34()
    {
        var open = Express();
        open.Function.PutWord(DeviceControl, 0x5010);

        open.WriteWord(DeviceControl, 0x2010);

        Assert.Equal(0x5010, open.Function.Word(DeviceControl));
    }

    [Fact]
    public void A_payload_size_never_reaches_hardware_CF_34()
    {
        var open = Express();

        open.WriteWord(DeviceControl, 0x2050);

        Assert.Equal((0x2010, 0x2050u), (open.Function.Word(DeviceControl), open.ReadWord(DeviceControl)));
    }

    // ---- AF, PCI-X, vendor -----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(0x03, 1)]
    [InlineData(0x02, 0)]
    [InlineData(0x01, 0)]
    [InlineData(0x00, 0)]
    public void FLR_of_AF_needs_FLR_and_transactions_pending_and_always_reads_0_CF_35(byte capabilities, int resets)
    {
        var open = new ConfigBuilder().Standard(StandardCapability.AdvancedFeatures, At, 0x06, capabilities).Open();

        open.WriteByte(At + 4, 0xff);

        Assert.Equal((resets, 0u), (open.Effects.Calls.Count(call => call == "reset"), open.ReadByte(At + 4)));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void The_command_of_PCI_X_is_written_and_its_status_is_not_CF_36()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.PciX, At, 0x00, 0x00).Open();

        open.Write(At + 2, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);

        Assert.Equal((0x2211, 0u), (open.Function.Word(At + 2), open.Function.Dword(At + 4)));
    }

    [Fact]
    public void A_vendor_capability_is_raw_as_far_as_its_length_byte_says_but_for_the_chain_CF_36()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.VendorSpecific, At, 0x08).Standard(StandardCapability.Sata, 0x80).Open();

        open.Write(At, [0xff, 0xff, 0x08, 0x5a, 1, 2, 3, 4]);

        Assert.Equal((0x5a08_8009u, 0x0403_0201u), (open.Function.Dword(At), open.Function.Dword(At + 4)));
    }

    // ---- MSI and MSI-X ---------------------------------------------------------------------------------------------------------------

    private static OpenConfig Msi(byte control = 0x0a) => new ConfigBuilder().Standard(StandardCapability.Msi, At, control, 0x00).Open();

    [Fact]
    public void Address_and_data_of_MSI_are_the_shadows_alone_CF_40()
    {
        var open = Msi(control: 0x8a);

        open.Write(At + 4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);

        Assert.Equal((0x0403_0201u, 0x0807_0605u, 0x0a09u), (open.ReadDword(At + 4), open.ReadDword(At + 8), open.ReadWord(At + 12)));
        Assert.Empty(open.Function.Writes);
    }

    [Fact]
    public void Mask_bits_of_MSI_pass_through_CF_40()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.Msi, At, 0x8a, 0x01).Open();

        open.WriteDword(At + 16, 0x0000_0003);

        Assert.Equal(3u, open.Function.Dword(At + 16));
    }

    [Theory]
    [InlineData(false, 0x0000)]
    [InlineData(true, 0x0001)]
    public void MSI_is_enabled_only_while_it_is_the_active_type_CF_41(bool active, int enable)
    {
        var open = Msi();
        open.Effects.IsMsiActive = active;

        open.WriteWord(At + 2, 0x0001);

        Assert.Equal(((uint)enable, enable), (open.ReadWord(At + 2) & 1, open.Function.Word(At + 2) & 1));
    }

    [Theory]
    [InlineData(2, 0x00, 0x00)]
    [InlineData(2, 0x20, 0x20)]
    [InlineData(2, 0x30, 0x20)]
    [InlineData(0, 0x50, 0x00)]
    public void More_vectors_than_there_are_cannot_be_enabled_CF_41(int queueMax, byte asked, byte granted)
    {
        var open = Msi();
        open.Effects.IsMsiActive = true;
        open.Effects.MsiQueueMax = queueMax;

        open.WriteWord(At + 2, asked);

        Assert.Equal((granted, granted), ((byte)(open.ReadWord(At + 2) & 0x70), (byte)(open.Function.Word(At + 2) & 0x70)));
    }

    [Theory]
    [InlineData(At, 4)]
    [InlineData(At + 2, 1)]
    [InlineData(At + 2, 2)]
    public void Whatever_chunk_has_the_control_byte_of_MSI_writes_it_back_to_hardware_CF_41(int at, int length)
    {
        var open = Msi();

        open.Write(at, [.. Enumerable.Repeat((byte)0xff, length)]);

        Assert.Equal(At + 2, Assert.Single(open.Function.Writes).Offset);
    }

    [Fact]
    public void The_capable_field_of_MSI_cannot_be_written_Q_5()
    {
        var open = Msi(control: 0x04);

        open.WriteWord(At + 2, 0x000e);

        Assert.Equal((0x0004u, (uint)StandardCapability.Msi), (open.ReadWord(At + 2), open.ReadByte(At)));
    }

    [Fact]
    public void While_MSI_is_active_the_capable_field_says_how_many_vectors_there_are_Q_5()
    {
        var open = Msi(control: 0x0a);
        open.Effects.MsiQueueMax = 2;
        var before = open.ReadWord(At + 2);
        open.Effects.IsMsiActive = true;
        var during = open.ReadWord(At + 2);
        open.Effects.IsMsiActive = false;

        Assert.Equal((0x0au, 0x04u, 0x0au), (before, during, open.ReadWord(At + 2)));
    }

    [Fact]
    public void Writes_to_MSI_X_are_dropped_and_its_state_is_read_from_hardware_CF_42()
    {
        var open = new ConfigBuilder().Standard(StandardCapability.Msix, At, 0x1f, 0x00).Open();

        open.WriteWord(At + 2, 0xc000);
        var dropped = open.Function.Writes.Count;
        open.Function.PutWord(At + 2, 0x801f);

        Assert.Equal((0, 0x801fu), (dropped, open.ReadWord(At + 2)));
    }

    // ---- What the core asks ----------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_core_learns_how_many_vectors_there_are_and_where_the_table_is_IO_30()
    {
        var capabilities = new ConfigBuilder()
            .Standard(StandardCapability.Msi, 0x50, 0x8a, 0x00)
            .Standard(StandardCapability.Msix, At, 0x1f, 0x00, 0x02, 0x20, 0x00, 0x00, 0x04, 0x30, 0x00, 0x00)
            .Open().Config.Capabilities;

        Assert.Equal(32, capabilities.Msi?.MaxVectors);
        Assert.Equal(new MsixCapability(At, 32, 2, 0x2000, 4, 0x3000), capabilities.Msix);
    }

    [Fact]
    public void MSI_X_whose_table_is_in_no_BAR_counts_as_none_IO_30() =>
        Assert.Null(new ConfigBuilder().Standard(StandardCapability.Msix, At, 0x1f, 0x00, 0x06).Open().Config.Capabilities.Msix);

    [Fact]
    public void The_core_learns_whether_state_outlives_D3_and_whether_there_is_FLR_LC_65()
    {
        var capabilities = new ConfigBuilder()
            .Standard(StandardCapability.PowerManagement, 0x50, 0x03, 0x06, 0x08)
            .Standard(StandardCapability.PciExpress, At, ConfigBuilder.Express2)
            .Open().Config.Capabilities;

        Assert.Equal(new PowerManagementCapability(0x50, SupportsD1: true, SupportsD2: true, NoSoftReset: true), capabilities.PowerManagement);
        Assert.True(capabilities.PciExpress?.HasFunctionLevelReset);
    }
}
