using Fabric.Pci;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

public sealed class HotResetTests
{
    private static readonly VfioPciDependentDevice[] Devices =
    [
        VfioPciDependentDevice.Of(26, new PciAddress(0, 0x3b, 0, 2)),
        VfioPciDependentDevice.Of(VfioPciDependentDevice.NotOwned, new PciAddress(0x1234, 0x3c, 0x1f, 7)),
    ];

    [Fact]
    public void A_device_is_an_id_and_an_address_IO_60()
    {
        var bytes = new byte[16];
        Devices[0].Encode(bytes);
        Devices[1].Encode(bytes.AsSpan(8));

        Assert.Equal("1A000000" + "0000" + "3B" + "02" + "FFFFFFFF" + "3412" + "3C" + "FF", Convert.ToHexString(bytes));
        Assert.Equal(new PciAddress(0x1234, 0x3c, 0x1f, 7), Devices[1].Address);
    }

    [Fact]
    public void The_devices_follow_the_head_IO_60_IO_61()
    {
        var buffer = new byte[28];

        Assert.True(VfioPciHotResetInfo.EncodeReply(buffer, 28, HotResetFlags.DevId | HotResetFlags.DevIdOwned, Devices).IsOk);

        Assert.Equal("1C000000" + "03000000" + "02000000" + "1A00000000003B02" + "FFFFFFFF34123CFF", Convert.ToHexString(buffer));
        Assert.True(VfioPciHotResetInfo.DecodeReply(buffer).Value.TryDevices(buffer, out var devices));
        Assert.Equal(Devices, devices.ToArray());
    }

    [Theory]
    [InlineData(12)]
    [InlineData(20)]
    [InlineData(27)]
    public void Too_little_room_is_ENOSPC_with_the_count_and_no_device_IO_60(uint argsz)
    {
        var buffer = new byte[32];

        Assert.Equal(Errno.ENOSPC, VfioPciHotResetInfo.EncodeReply(buffer, argsz, HotResetFlags.None, Devices).Error.Errno);

        Assert.Equal(new VfioPciHotResetInfo(argsz, HotResetFlags.None, 2), VfioPciHotResetInfo.DecodeReply(buffer).Value);
        Assert.Equal(-1, buffer.AsSpan(12).IndexOfAnyExcept((byte)0));
    }

    [Theory]
    [InlineData(28, 27)]
    [InlineData(12, 11)]
    public void A_buffer_shorter_than_argsz_is_EFAULT_IO_2(uint argsz, int length) =>
        Assert.Equal(Errno.EFAULT, VfioPciHotResetInfo.EncodeReply(new byte[length], argsz, HotResetFlags.None, Devices).Error.Errno);

    [Fact]
    public void A_reply_that_claims_more_devices_than_it_has_gives_none()
    {
        var reply = new byte[27];
        new VfioPciHotResetInfo(28, HotResetFlags.None, 2).Encode(reply);

        Assert.False(VfioPciHotResetInfo.DecodeReply(reply).Value.TryDevices(reply, out _));
        Assert.False(new VfioPciHotResetInfo(12, HotResetFlags.None, 0).TryDevices(reply.AsSpan(0, 11), out _));
    }

    [Fact]
    public void The_groups_of_a_reset_are_those_that_the_request_has_IO_62()
    {
        var request = Convert.FromHexString("14000000" + "00000000" + "02000000" + "0B000000" + "FFFFFFFF");
        var head = VfioPciHotReset.Decode(request).Value;

        Assert.True(head.TryGroupFds(request, out var fds));
        Assert.Equal([11, -1], fds.ToArray());
        Assert.False(head.TryGroupFds(request.AsSpan(0, 19), out _));
        Assert.False((head with { Count = uint.MaxValue }).TryGroupFds(request, out _));
        Assert.False((head with { Count = 0 }).TryGroupFds(request.AsSpan(0, 11), out _));
    }
}
