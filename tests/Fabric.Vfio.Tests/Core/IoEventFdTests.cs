using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Core;

public sealed class IoEventFdTests
{
    private readonly CardFunction function = Card.Physical();
    private readonly FakeSource source = new();
    private readonly VfioPciCore core;

    public IoEventFdTests() => core = Card.Open(function);

    [Theory]
    [InlineData(0, 0UL, 0)]
    [InlineData(0, 0UL, 3)]
    [InlineData(0, 0UL, 16)]
    [InlineData(6, 0UL, 4)]
    [InlineData(7, 0UL, 4)]
    [InlineData(-1, 0UL, 4)]
    [InlineData(1, 0UL, 1)]
    [InlineData(0, CardFunction.MemoryBytes, 1)]
    [InlineData(0, CardFunction.MemoryBytes - 3, 4)]
    [InlineData(0, ulong.MaxValue, 8)]
    [InlineData(CardFunction.MsixBar, CardFunction.MsixTableOffset, 4)]
    [InlineData(CardFunction.MsixBar, CardFunction.MsixTableOffset - 1, 2)]
    [InlineData(CardFunction.MsixBar, CardFunction.MsixTableOffset + 63, 1)]
    public void What_cannot_be_written_so_is_EINVAL_IO_70(int region, ulong offset, int size) =>
        Assert.Equal(Errno.EINVAL, core.SetIoEventFd(new IoEvent(region, offset, size, 0), source).Error.Errno);

    [Theory]
    [InlineData(CardFunction.MsixBar, CardFunction.MsixTableOffset - 4, 4)]
    [InlineData(CardFunction.MsixBar, CardFunction.MsixTableOffset + 64, 8)]
    [InlineData(CardFunction.IoBar, 0UL, 2)]
    [InlineData(CardFunction.MemoryBar, CardFunction.MemoryBytes - 1, 1)]
    public void What_can_be_written_is_installed_IO_70(int region, ulong offset, int size) =>
        Assert.True(core.SetIoEventFd(new IoEvent(region, offset, size, 0), source).IsOk);

    [Theory]
    [InlineData(1, "0+10/1")]
    [InlineData(2, "0+10/2")]
    [InlineData(4, "0+10/4")]
    [InlineData(8, "0+10/8")]
    public void Firing_writes_the_data_in_one_access_IO_71(int size, string access)
    {
        core.SetIoEventFd(new IoEvent(CardFunction.MemoryBar, 0x10, size, 0x1122_3344_5566_7788), source);

        source.Fire();

        Assert.Equal([access], function.Accesses);
        Assert.Equal(0x88, function.Memory(CardFunction.MemoryBar, 0x10));
    }

    [Fact]
    public void Firing_with_memory_decode_off_writes_nothing_and_says_nothing_IO_71()
    {
        core.SetIoEventFd(new IoEvent(CardFunction.MemoryBar, 0x10, 4, 1), source);
        core.WriteCommand(PciCommand.None);

        source.Fire();

        Assert.Empty(function.Accesses);
    }

    [Fact]
    public void The_same_write_twice_is_EEXIST_IO_70()
    {
        core.SetIoEventFd(new IoEvent(0, 0, 4, 1), source);

        Assert.Equal(Errno.EEXIST, core.SetIoEventFd(new IoEvent(0, 0, 4, 1), source).Error.Errno);
        Assert.True(core.SetIoEventFd(new IoEvent(0, 0, 4, 2), source).IsOk);
    }

    [Fact]
    public void Removing_takes_place_size_and_data_IO_70()
    {
        core.SetIoEventFd(new IoEvent(0, 0, 4, 1), source);

        Assert.Equal(Errno.ENODEV, core.SetIoEventFd(new IoEvent(0, 0, 4, 2), null).Error.Errno);
        Assert.True(core.SetIoEventFd(new IoEvent(0, 0, 4, 1), null).IsOk);
        Assert.Equal(0, source.Listeners);
        Assert.Equal(Errno.ENODEV, core.SetIoEventFd(new IoEvent(0, 0, 4, 1), null).Error.Errno);
    }

    [Fact]
    public void A_device_has_a_thousand_of_them_at_most_IO_70()
    {
        for (var i = 0; i < 1000; i++)
            Assert.True(core.SetIoEventFd(new IoEvent(0, 0, 4, (ulong)i), source).IsOk);

        Assert.Equal(Errno.ENOSPC, core.SetIoEventFd(new IoEvent(0, 0, 4, 1000), source).Error.Errno);
        core.SetIoEventFd(new IoEvent(0, 0, 4, 5), null);
        Assert.True(core.SetIoEventFd(new IoEvent(0, 0, 4, 1000), source).IsOk);
    }
}
