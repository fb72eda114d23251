using Fabric.Pci;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class InfoTests
{
    private const RegionFlags ReadWrite = RegionFlags.Read | RegionFlags.Write;

    [Fact]
    public void GET_INFO_shows_nine_regions_five_interrupts_and_a_reset_that_works_IO_10() =>
        Assert.Equal(new DeviceInfo(DeviceFlags.Pci | DeviceFlags.Reset, 9, 5), OpenDevice.New().GetInfo().Value);

    [Fact]
    public void GET_INFO_shows_no_reset_where_none_works_IO_10()
    {
        var core = OpenDevice.On(new FakeFunction { OnReset = () => VfioResult.Fail(Errno.ENOTTY, "It has no way to reset.") });

        Assert.Equal(DeviceFlags.Pci, core.GetInfo().Value.Flags);
    }

    [Theory]
    [InlineData(0, ReadWrite | RegionFlags.Mmap, 0x1000UL)]
    [InlineData(1, RegionFlags.None, 0UL)]
    [InlineData(2, ReadWrite | RegionFlags.Mmap, 1UL << 33)]
    [InlineData(5, RegionFlags.None, 0UL)]
    [InlineData(RegionIndex.Rom, RegionFlags.None, 0UL)]
    [InlineData(RegionIndex.Config, ReadWrite, 4096UL)]
    public void GET_REGION_INFO_shows_size_and_flags_IO_20(int index, RegionFlags flags, ulong size) =>
        Assert.Equal(new RegionInfo(index, flags, size), OpenDevice.New().GetRegionInfo(index).Value);

    [Theory]
    [InlineData(-1)]
    [InlineData(RegionIndex.Vga)]
    [InlineData(RegionIndex.Count)]
    [InlineData(int.MinValue)]
    [InlineData(int.MaxValue)]
    public void GET_REGION_INFO_of_no_region_is_EINVAL_IO_20(int index) =>
        Assert.Equal(Errno.EINVAL, OpenDevice.New().GetRegionInfo(index).Error.Errno);

    [Fact]
    public void A_region_starts_at_its_index_shifted_by_forty_IO_20() =>
        Assert.Equal(7UL << 40, OpenDevice.New().GetRegionInfo(RegionIndex.Config).Value.Offset);

    [Fact]
    public void The_config_region_of_a_conventional_function_has_256_bytes()
    {
        var core = OpenDevice.On(new FakeFunction(configSize: ConfigOffset.ConventionalSize));

        Assert.Equal(256UL, core.GetRegionInfo(RegionIndex.Config).Value.Size);
    }

    [Theory]
    [InlineData(IrqIndex.Intx, IrqFlags.Eventfd | IrqFlags.Maskable | IrqFlags.AutoMasked, 0)]
    [InlineData(IrqIndex.Msi, IrqFlags.Eventfd | IrqFlags.NoResize, 0)]
    [InlineData(IrqIndex.Msix, IrqFlags.Eventfd | IrqFlags.NoResize, 0)]
    [InlineData(IrqIndex.Err, IrqFlags.Eventfd | IrqFlags.NoResize, 1)]
    [InlineData(IrqIndex.Req, IrqFlags.Eventfd | IrqFlags.NoResize, 1)]
    public void GET_IRQ_INFO_shows_count_and_flags_IO_30(IrqIndex index, IrqFlags flags, int count) =>
        Assert.Equal(new IrqInfo(index, flags, count), OpenDevice.New().GetIrqInfo((int)index).Value);

    [Theory]
    [InlineData(-1)]
    [InlineData(5)]
    [InlineData(int.MaxValue)]
    public void GET_IRQ_INFO_of_no_index_is_EINVAL_IO_30(int index) =>
        Assert.Equal(Errno.EINVAL, OpenDevice.New().GetIrqInfo(index).Error.Errno);
}
