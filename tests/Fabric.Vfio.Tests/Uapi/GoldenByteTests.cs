using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>Requests and replies as a driver or a VMM of today puts them on the wire, written by hand.</summary>
public sealed class GoldenByteTests
{
    [Fact]
    public void GET_INFO() => Is(
        "18000000 03000000 09000000 05000000 00000000 00000000",
        VfioDeviceInfo.Of(new DeviceInfo(DeviceFlags.Reset | DeviceFlags.Pci, 9, 5), 24));

    [Fact]
    public void GET_REGION_INFO_gives_the_offset_in_the_device_file_IO_20() => Is(
        "20000000 03000000 07000000 00000000 0010000000000000 0000000000070000",
        VfioRegionInfo.Of(new RegionInfo(RegionIndex.Config, RegionFlags.Read | RegionFlags.Write, 4096), 32));

    [Fact]
    public void GET_IRQ_INFO_IO_30() => Is(
        "10000000 09000000 02000000 00080000",
        VfioIrqInfo.Of(new IrqInfo(IrqIndex.Msix, IrqFlags.Eventfd | IrqFlags.NoResize, 2048), 16));

    [Fact]
    public void IOEVENTFD_IO_70() => Is(
        "1C000000 04000000 0010000000020000 EFBEADDE00000000 0B000000 00000000",
        new VfioDeviceIoeventfd(28, IoeventfdWidth.Four, (2UL << 40) | 0x1000, 0xdeadbeef, 11, 0));

    [Fact]
    public void BIND_IOMMUFD_IO_100() => Is(
        "18000000 01000000 05000000 02000000 00F0FFFFFF7F0000",
        new VfioDeviceBindIommufd(24, BindFlags.Token, 5, 2, 0x7fff_ffff_f000));

    [Fact]
    public void ATTACH_IOMMUFD_PT_IO_101() => Is("10000000 01000000 03000000 2A000000", new VfioDeviceAttachIommufdPt(16, AttachFlags.Pasid, 3, 42));

    [Fact]
    public void DETACH_IOMMUFD_PT_IO_101() => Is("0C000000 01000000 2A000000", new VfioDeviceDetachIommufdPt(12, AttachFlags.Pasid, 42));

    [Fact]
    public void PRECOPY_INFO_MG_25_MG_26() => Is(
        "18000000 01000000 0000100000000000 0020000000000000",
        VfioPrecopyInfo.Of(new PrecopyInfo(1 << 20, 8192), 24, PrecopyFlags.Reinit));

    [Fact]
    public void GROUP_GET_STATUS_LC_16() => Is("08000000 03000000", new VfioGroupStatus(8, GroupFlags.Viable | GroupFlags.ContainerSet));

    [Fact]
    public void FEATURE_MIGRATION() =>
        Is("0700000000000000", new VfioDeviceFeatureMigration(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy));

    [Fact]
    public void FEATURE_DMA_LOGGING_START_MG_40() =>
        Is("0010000000000000 02000000 00000000 00E0FFFFFF7F0000", new VfioDeviceFeatureDmaLoggingControl(4096, 2, 0, 0x7fff_ffff_e000));

    [Fact]
    public void FEATURE_DMA_LOGGING_REPORT_MG_41() => Is(
        "0000000001000000 0000200000000000 0010000000000000 00D0FFFFFF7F0000",
        new VfioDeviceFeatureDmaLoggingReport(0x1_0000_0000, 0x20_0000, 4096, 0x7fff_ffff_d000));

    [Fact]
    public void MAP_DMA() => Is(
        "20000000 03000000 00C0FFFFFF7F0000 0000100000000000 0040000000000000",
        new VfioIommuType1DmaMap(32, DmaMapFlags.Read | DmaMapFlags.Write, 0x7fff_ffff_c000, 0x10_0000, 0x4000));

    [Fact]
    public void IOAS_MAP() => Is(
        "28000000 07000000 01000000 00000000 00C0FFFFFF7F0000 0040000000000000 0000100000000000",
        new IommuIoasMap(40, IoasMapFlags.FixedIova | IoasMapFlags.Writeable | IoasMapFlags.Readable, 1, 0, 0x7fff_ffff_c000, 0x4000, 0x10_0000));

    [Fact]
    public void GET_HW_INFO() => Is(
        "28000000 00000000 01000000 40000000 00B0FFFFFF7F0000 02000000 14 00 0000 0100000000000000",
        new IommuHwInfo(40, 0, 1, 64, 0x7fff_ffff_b000, 2, 20, 0, 0, 1));

    [Fact]
    public void A_reply_reads_back_as_what_it_was_made_of()
    {
        Assert.Equal(new DeviceInfo(DeviceFlags.Pci, 9, 5), VfioDeviceInfo.Of(new DeviceInfo(DeviceFlags.Pci, 9, 5), 24).Info);
        Assert.Equal(new IrqInfo(IrqIndex.Msi, IrqFlags.Eventfd, 4), VfioIrqInfo.Of(new IrqInfo(IrqIndex.Msi, IrqFlags.Eventfd, 4), 16).Info);
        Assert.Equal(new PrecopyInfo(3, 4), VfioPrecopyInfo.Of(new PrecopyInfo(3, 4), 24).Info);
    }

    private static void Is<T>(string hex, T value) where T : unmanaged, IUapiStruct<T>
    {
        var golden = Convert.FromHexString(hex.Replace(" ", ""));
        var encoded = new byte[golden.Length];

        Assert.True(value.Encode(encoded).IsOk);
        Assert.Equal(Convert.ToHexString(golden), Convert.ToHexString(encoded));
        Assert.True(UapiCodec.TryRead<T>(golden, out var read));
        Assert.Equal(value, read);
    }
}
