using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Drivers.Ism;
using Fabric.Hardware.Emulated;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.Platform;

/// <summary>Store blocks, no pages crossed, nothing mapped, regions 48 bits apart (contract §7.3).</summary>
public sealed class IsmDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const int SharedMemory = 2;

    [Theory]
    [InlineData(0)]
    [InlineData(SharedMemory)]
    [InlineData(RegionIndex.Config)]
    public async Task Regions_are_48_bits_apart_in_the_file_and_none_is_mapped(int index)
    {
        using var device = await OpenAsync();

        var info = (await device.AskAsync<RegionInfoRead>(new GetRegionInfo(device.Session, index))).Info;

        Assert.Equal((ulong)index << 48, info.Offset);
        Assert.Equal(RegionFlags.Read | RegionFlags.Write, info.Flags);
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new MapRegion(device.Session, index)));
    }

    [Theory]
    [InlineData(0, 128, Errno.None)]
    [InlineData(0, 129, Errno.EINVAL)]
    [InlineData(4096 - 128, 128, Errno.None)]
    [InlineData(4096 - 127, 128, Errno.EINVAL)]
    [InlineData(4096, 128, Errno.None)]
    public async Task One_access_is_one_store_block_that_crosses_no_page(ulong offset, int length, Errno expected)
    {
        using var device = await OpenAsync();

        Assert.Equal(expected, ErrnoOf(await device.AskAsync(new WriteRegion(device.Session, SharedMemory, offset, new byte[length]))));
        Assert.Equal(expected, ErrnoOf(await device.AskAsync(new ReadRegion(device.Session, SharedMemory, offset, length))));
    }

    [Fact]
    public async Task What_is_stored_is_loaded()
    {
        using var device = await OpenAsync();
        await device.AskAsync<RegionWritten>(new WriteRegion(device.Session, SharedMemory, 4096, new byte[] { 1, 2, 3 }));

        Assert.Equal([1, 2, 3], await device.ReadAsync(SharedMemory, 4096, 3));
    }

    [Fact]
    public async Task Config_space_is_the_cores_and_knows_no_store_block()
    {
        using var device = await OpenAsync();

        Assert.Equal(256, (await device.ReadAsync(RegionIndex.Config, 0, 256)).Length);
    }

    [Theory]
    [InlineData(RegionIndex.Rom)]
    [InlineData(RegionIndex.Vga)]
    public async Task There_is_neither_ROM_nor_VGA(int index)
    {
        using var device = await OpenAsync();

        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new GetRegionInfo(device.Session, index)));
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new ReadRegion(device.Session, index, 0, 4)));
    }

    [Fact]
    public async Task It_is_an_s390_function_beside_that()
    {
        using var device = await OpenAsync();

        Assert.Equal([1, 2, 3, 4], (await device.AskAsync<DeviceInfoRead>(new GetDeviceInfo(device.Session))).Info.Caps.Select(static own => (int)own.Id));
    }

    private static Errno ErrnoOf(object reply) => reply is DeviceFailed failed ? failed.Error.Errno : Errno.None;

    private Task<BoundDevice> OpenAsync() => BoundDevice.OpenAsync(Sys, TestActor, EmulatedModels.Ism, IsmDriver.Registration);
}
