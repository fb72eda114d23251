using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>What a request's fields alone make wrong, whatever the device.</summary>
public sealed class FlagTests
{
    [Fact]
    public void GET_STATUS_with_an_argsz_below_8_is_EINVAL_LC_16() => Assert.Equal(Errno.EINVAL, Decode(new VfioGroupStatus(7, 0)));

    [Fact]
    public void GET_INFO_with_an_argsz_below_16_is_EINVAL_IO_10() => Assert.Equal(Errno.EINVAL, Decode(new VfioDeviceInfo { Argsz = 15 }));

    [Fact]
    public void GET_REGION_INFO_with_an_argsz_below_32_is_EINVAL_IO_20() => Assert.Equal(Errno.EINVAL, Decode(new VfioRegionInfo { Argsz = 31 }));

    [Fact]
    public void GET_IRQ_INFO_with_an_argsz_below_16_is_EINVAL_IO_30() => Assert.Equal(Errno.EINVAL, Decode(new VfioIrqInfo { Argsz = 15 }));

    [Fact]
    public void PRECOPY_INFO_with_an_argsz_below_24_is_EINVAL_MG_25() => Assert.Equal(Errno.EINVAL, Decode(new VfioPrecopyInfo { Argsz = 23 }));

    [Theory]
    [InlineData(27, 1, 5, Errno.EINVAL)]
    [InlineData(28, 0, 5, Errno.EINVAL)]
    [InlineData(28, 3, 5, Errno.EINVAL)]
    [InlineData(28, 16, 5, Errno.EINVAL)]
    [InlineData(28, 1, -2, Errno.EINVAL)]
    [InlineData(28, 1, -1, Errno.None)]
    [InlineData(28, 2, 0, Errno.None)]
    [InlineData(28, 4, 5, Errno.None)]
    [InlineData(28, 8, 5, Errno.None)]
    public void IOEVENTFD_wants_one_width_and_a_descriptor_from_minus_1_on_IO_70(uint argsz, uint flags, int fd, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioDeviceIoeventfd(argsz, (IoeventfdWidth)flags, 0, 0, fd, 0)));

    [Theory]
    [InlineData(15, 0, 3, Errno.EINVAL)]
    [InlineData(16, 0, -1, Errno.EINVAL)]
    [InlineData(16, 2, 3, Errno.EINVAL)]
    [InlineData(24, 3, 3, Errno.EINVAL)]
    [InlineData(16, 0, 3, Errno.None)]
    [InlineData(24, 1, 0, Errno.None)]
    public void BIND_wants_an_iommufd_and_knows_the_token_flag_alone_IO_100(uint argsz, uint flags, int iommufd, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioDeviceBindIommufd(argsz, (BindFlags)flags, iommufd, 0, 0)));

    [Theory]
    [InlineData(11, 0, Errno.EINVAL)]
    [InlineData(12, 2, Errno.EINVAL)]
    [InlineData(12, 0, Errno.None)]
    [InlineData(16, 1, Errno.None)]
    public void ATTACH_knows_the_PASID_flag_alone_IO_101(uint argsz, uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioDeviceAttachIommufdPt(argsz, (AttachFlags)flags, 1, 0)));

    [Theory]
    [InlineData(7, 0, Errno.EINVAL)]
    [InlineData(8, 2, Errno.EINVAL)]
    [InlineData(8, 0, Errno.None)]
    [InlineData(12, 1, Errno.None)]
    public void DETACH_knows_the_PASID_flag_alone_IO_101(uint argsz, uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioDeviceDetachIommufdPt(argsz, (AttachFlags)flags, 0)));

    [Theory]
    [InlineData(0, false, 12, Errno.None)]
    [InlineData(1, false, 12, Errno.EOPNOTSUPP)]
    [InlineData(1, false, 16, Errno.EOPNOTSUPP)]
    [InlineData(1, true, 15, Errno.EINVAL)]
    [InlineData(1, true, 16, Errno.None)]
    public void ATTACH_with_a_PASID_needs_support_and_then_an_argsz_that_covers_it_IO_101(uint flags, bool supported, uint argsz, Errno errno) =>
        Assert.Equal(errno, new VfioDeviceAttachIommufdPt(argsz, (AttachFlags)flags, 1, 2).CheckPasid(supported).Error.Errno);

    [Theory]
    [InlineData(0, false, 8, Errno.None)]
    [InlineData(1, false, 12, Errno.EOPNOTSUPP)]
    [InlineData(1, true, 11, Errno.EINVAL)]
    [InlineData(1, true, 12, Errno.None)]
    public void DETACH_with_a_PASID_needs_support_and_then_an_argsz_that_covers_it_IO_101(uint flags, bool supported, uint argsz, Errno errno) =>
        Assert.Equal(errno, new VfioDeviceDetachIommufdPt(argsz, (AttachFlags)flags, 2).CheckPasid(supported).Error.Errno);

    [Theory]
    [InlineData(11, 0, Errno.EINVAL)]
    [InlineData(12, 1, Errno.EINVAL)]
    [InlineData(12, 0, Errno.None)]
    public void HOT_RESET_has_no_flags_IO_62(uint argsz, uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioPciHotReset(argsz, flags, 0)));

    [Theory]
    [InlineData(0, Errno.None)]
    [InlineData(7, Errno.None)]
    [InlineData(8, Errno.EINVAL)]
    public void MAP_DMA_knows_three_flags(uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioIommuType1DmaMap(32, (DmaMapFlags)flags, 0, 0, 4096)));

    [Theory]
    [InlineData(0, Errno.None)]
    [InlineData(1, Errno.None)]
    [InlineData(6, Errno.None)]
    [InlineData(3, Errno.EINVAL)]
    [InlineData(5, Errno.EINVAL)]
    [InlineData(8, Errno.EINVAL)]
    public void UNMAP_DMA_gives_a_dirty_bitmap_of_a_range_alone(uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioIommuType1DmaUnmap(24, (DmaUnmapFlags)flags, 0, 4096)));

    [Theory]
    [InlineData(0, Errno.EINVAL)]
    [InlineData(1, Errno.None)]
    [InlineData(2, Errno.None)]
    [InlineData(4, Errno.None)]
    [InlineData(5, Errno.EINVAL)]
    [InlineData(8, Errno.EINVAL)]
    public void DIRTY_PAGES_does_one_thing_at_a_time(uint flags, Errno errno) =>
        Assert.Equal(errno, Decode(new VfioIommuType1DirtyBitmap(8, (DirtyPagesFlags)flags)));

    [Theory]
    [InlineData(0, Errno.None)]
    [InlineData(1, Errno.EINVAL)]
    public void EEH_PE_OP_has_no_flags(uint flags, Errno errno) => Assert.Equal(errno, Decode(new VfioEehPeOp(12, flags, 0, 0, default)));

    private static Errno Decode<T>(T request) where T : unmanaged, IUapiRequest<T>
    {
        var bytes = new byte[64];
        request.Encode(bytes);
        return UapiCodec.Decode<T>(bytes).Error.Errno;
    }
}
