using System.Runtime.CompilerServices;
using System.Text;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Protocol;

/// <summary>Bytes on the wire, and the text of VERSION.</summary>
public sealed class ProtocolTests
{
    [Fact]
    public void A_head_is_laid_out_as_the_specification_says()
    {
        var head = new MessageHeader(0x1234, Command.RegionWrite, 0x20, MessageFlags.NoReply, 0);
        Assert.Equal([0x34, 0x12, 10, 0, 0x20, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0], TestClient.HeadOf(head));
        Assert.Equal([0x34, 0x12, 10, 0, 0x10, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0], TestClient.HeadOf(head.Refusal(Errno.EINVAL)));
        Assert.Equal([0x34, 0x12, 10, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], TestClient.HeadOf(head.Answer(16)));
        Assert.False(MessageHeader.TryRead(new byte[15], out _));
    }

    [Fact]
    public void Payloads_have_the_sizes_of_the_specification()
    {
        Assert.Equal(
            [16, 4, 32, 24, 16, 16, 16, 24, 16, 16, 24, 8, 8],
            new[]
            {
                Unsafe.SizeOf<MessageHeader>(), Unsafe.SizeOf<VersionPayload>(), Unsafe.SizeOf<DmaMapPayload>(), Unsafe.SizeOf<DmaUnmapPayload>(),
                Unsafe.SizeOf<DeviceInfoPayload>(), Unsafe.SizeOf<RegionIoFdsPayload>(), Unsafe.SizeOf<RegionAccessPayload>(),
                Unsafe.SizeOf<WriteMultiEntry>(), Unsafe.SizeOf<DmaAccessPayload>(), Unsafe.SizeOf<LoggingStartPayload>(),
                Unsafe.SizeOf<LoggingReportPayload>(), Unsafe.SizeOf<DeviceStatePayload>(), Unsafe.SizeOf<MigDataPayload>(),
            });
        Assert.Equal(
            [32, 0, 0, 0, 3, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0],
            TestClient.Bytes(new DmaMapPayload(32, MapFlags.Read | MapFlags.Write, 0x1000, 0x4000_0000, 0x2000)));
        Assert.Equal(
            [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0],
            TestClient.Bytes(new WriteMultiEntry(8, 1, 4, 0xdead_beef)));
    }

    [Fact]
    public void Decoding_and_encoding_allocate_nothing()
    {
        var bytes = TestClient.Bytes(new DmaMapPayload(32, MapFlags.Read, 1, 2, 3));
        var taken = 0UL;
        Run();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var round = 0; round < 1000; round++)
            Run();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 100);
        Assert.NotEqual(0UL, taken);

        void Run()
        {
            DmaMapPayload.TryRead(bytes, out var read);
            MessageHeader.Request(1, Command.DmaMap, 32).Encode(bytes);
            read.Encode(bytes);
            taken += read.Length;
        }
    }

    [Fact]
    public void The_capabilities_of_QEMU_and_of_libvfio_user_are_read()
    {
        Assert.Equal(new PeerCapabilities(16, 1 << 20, 65535, 4096, true), Read(TestClient.QemuJson + "\0").Value);
        Assert.Equal(
            new PeerCapabilities(8),
            Read("""{ "capabilities": { "max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": { "pgsize": 4096 } } }""" + "\0").Value);
        Assert.Equal(PeerCapabilities.Default, Read("").Value);
        Assert.Equal(PeerCapabilities.Default, Read("{}\0").Value);
        Assert.Equal(PeerCapabilities.Default, Read("""{"capabilities":{}}""" + "\0\0").Value);
        Assert.Equal(
            PeerCapabilities.Default, Read("""{"other":[1,{"a":2}],"capabilities":{"twin_socket":{"supported":true},"x":[1,2]}}""" + "\0").Value);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("[]\0")]
    [InlineData("7\0")]
    [InlineData("\0")]
    [InlineData("{\0")]
    [InlineData("{}{}\0")]
    [InlineData("""{"capabilities":7}""" + "\0")]
    [InlineData("""{"capabilities":null}""" + "\0")]
    [InlineData("""{"capabilities":{"max_msg_fds":"8"}}""" + "\0")]
    [InlineData("""{"capabilities":{"max_msg_fds":-1}}""" + "\0")]
    [InlineData("""{"capabilities":{"max_msg_fds":1025}}""" + "\0")]
    [InlineData("""{"capabilities":{"max_msg_fds":1.5}}""" + "\0")]
    [InlineData("""{"capabilities":{"max_data_xfer_size":0}}""" + "\0")]
    [InlineData("""{"capabilities":{"max_data_xfer_size":99999999999999999999}}""" + "\0")]
    [InlineData("""{"capabilities":{"write_multiple":1}}""" + "\0")]
    [InlineData("""{"capabilities":{"write_multiple":true}""" + "\0")]
    [InlineData("""{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}""" + "\0")]
    public void Text_that_is_no_capabilities_is_EINVAL(string text) => Assert.Equal(Errno.EINVAL, Read(text).Error.Errno);

    [Fact]
    public void Text_that_is_too_long_is_EINVAL() =>
        Assert.Equal(Errno.EINVAL, Read("{" + new string(' ', PeerCapabilities.MaxJsonBytes) + "}\0").Error.Errno);

    private static VfioResult<PeerCapabilities> Read(string text) => PeerCapabilities.Read(Encoding.UTF8.GetBytes(text));
}
