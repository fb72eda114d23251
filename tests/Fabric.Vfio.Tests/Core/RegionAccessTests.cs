using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class RegionAccessTests
{
    private const ulong Bar0Bytes = 0x1000;

    [Fact]
    public void A_read_gives_what_the_BAR_holds()
    {
        var function = new FakeFunction();
        var data = new byte[3];

        Assert.Equal(3, OpenDevice.On(function).Read(0, 0x10, data).Value);
        Assert.Equal([function.BarByte(0, 0x10), function.BarByte(0, 0x11), function.BarByte(0, 0x12)], data);
    }

    [Fact]
    public void A_write_reaches_the_BAR()
    {
        var function = new FakeFunction();

        Assert.Equal(2, OpenDevice.On(function).Write(4, 0xfe, [0xca, 0xfe]).Value);
        Assert.Equal((0xca, 0xfe), (function.BarByte(4, 0xfe), function.BarByte(4, 0xff)));
    }

    [Fact]
    public void A_read_across_the_end_of_a_BAR_is_cut_short_there_IO_111() =>
        Assert.Equal(4, OpenDevice.New().Read(0, Bar0Bytes - 4, new byte[64]).Value);

    [Fact]
    public void A_write_across_the_end_of_a_BAR_is_cut_short_there_IO_111() =>
        Assert.Equal(4, OpenDevice.New().Write(0, Bar0Bytes - 4, new byte[64]).Value);

    [Fact]
    public void A_read_beyond_four_gigabytes_of_a_BAR_finds_its_place()
    {
        var data = new byte[1];

        OpenDevice.New().Read(2, (1UL << 32) + 3, data);

        Assert.Equal([21], data);
    }

    [Theory]
    [InlineData(0, Bar0Bytes)]
    [InlineData(0, ulong.MaxValue)]
    [InlineData(1, 0UL)]
    [InlineData(2, 1UL << 33)]
    [InlineData(RegionIndex.Rom, 0UL)]
    [InlineData(RegionIndex.Vga, 0xa0000UL)]
    [InlineData(RegionIndex.Count, 0UL)]
    [InlineData(-1, 0UL)]
    [InlineData(int.MaxValue, 0UL)]
    public void What_is_no_place_of_a_region_is_EINVAL_IO_111(int region, ulong offset)
    {
        var core = OpenDevice.New();

        Assert.Equal(Errno.EINVAL, core.Read(region, offset, new byte[1]).Error.Errno);
        Assert.Equal(Errno.EINVAL, core.Write(region, offset, new byte[1]).Error.Errno);
    }

    [Fact]
    public void Nothing_read_or_written_is_nothing_done_IO_110()
    {
        var core = OpenDevice.New();

        Assert.Equal((0, 0), (core.Read(0, 0, []).Value, core.Write(0, 0, []).Value));
    }

    [Fact]
    public void A_BAR_with_memory_decode_off_answers_EIO_IO_112()
    {
        var core = OpenDevice.On(new FakeFunction(isVirtual: false));
        core.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]);

        Assert.Equal(Errno.EIO, core.Read(0, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, core.Write(0, 0, new byte[4]).Error.Errno);
    }

    [Fact]
    public void Nothing_is_written_while_memory_decode_is_off_IO_112()
    {
        var function = new FakeFunction(isVirtual: false);
        var core = OpenDevice.On(function);
        core.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]);

        core.Write(0, 0, [0xaa]);

        Assert.NotEqual(0xaa, function.BarByte(0, 0));
    }

    [Fact]
    public void A_BAR_answers_again_when_memory_decode_is_back_on_CF_12()
    {
        var core = OpenDevice.On(new FakeFunction(isVirtual: false));
        core.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]);
        core.Write(RegionIndex.Config, ConfigOffset.Command, [(byte)PciCommand.MemorySpace, 0]);

        Assert.True(core.Read(0, 0, new byte[4]).IsOk);
    }

    [Fact]
    public void A_function_that_does_not_answer_is_EIO()
    {
        var function = new FakeFunction { OnBarAccess = () => VfioResult.Fail(Errno.EIO, "It does not answer.") };
        var core = OpenDevice.On(function);

        Assert.Equal(Errno.EIO, core.Read(0, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EIO, core.Write(0, 0, new byte[4]).Error.Errno);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(RegionIndex.Rom)]
    [InlineData(RegionIndex.Config)]
    [InlineData(RegionIndex.Vga)]
    [InlineData(-1)]
    public void What_is_no_BAR_cannot_be_mapped_IO_114(int region) => Assert.Equal(Errno.EINVAL, OpenDevice.New().Map(region).Error.Errno);

    [Fact]
    public void A_mapping_that_is_narrowed_ends_where_it_was_narrowed_to()
    {
        var whole = OpenDevice.New().Map(0).Value;
        var narrow = whole.Narrow(16);

        Assert.Equal((16UL, Bar0Bytes), (narrow.Length, whole.Narrow(ulong.MaxValue).Length));
        Assert.Equal((true, Errno.EFAULT), (narrow.Write(12, new byte[4]).IsOk, narrow.Write(13, new byte[4]).Error.Errno));
    }

    [Fact]
    public void A_mapping_is_as_long_as_its_BAR() => Assert.Equal(Bar0Bytes, OpenDevice.New().Map(0).Value.Length);

    [Fact]
    public void A_mapping_reaches_its_last_byte()
    {
        var function = new FakeFunction();
        var mapping = OpenDevice.On(function).Map(0).Value;

        Assert.True(mapping.Write(Bar0Bytes - 1, [0x5a]).IsOk);
        Assert.Equal(0x5a, function.BarByte(0, Bar0Bytes - 1));
    }

    [Theory]
    [InlineData(Bar0Bytes, 1)]
    [InlineData(Bar0Bytes - 3, 4)]
    [InlineData(0UL, (int)Bar0Bytes + 1)]
    [InlineData(ulong.MaxValue, 1)]
    [InlineData(ulong.MaxValue - 3, 8)]
    public void A_mapping_ends_where_its_BAR_ends(ulong offset, int length)
    {
        var mapping = OpenDevice.New().Map(0).Value;

        Assert.Equal(Errno.EFAULT, mapping.Read(offset, new byte[length]).Error.Errno);
        Assert.Equal(Errno.EFAULT, mapping.Write(offset, new byte[length]).Error.Errno);
    }

    [Fact]
    public void A_function_that_does_not_answer_through_a_mapping_is_EIO()
    {
        var function = new FakeFunction { OnBarAccess = () => VfioResult.Fail(Errno.EIO, "It does not answer.") };
        RegionMapping mapping = OpenDevice.On(function).Map(0).Value;

        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[4]).Error.Errno);
    }
}
