using CsCheck;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>Chains of capabilities (IO-4).</summary>
public sealed class CapabilityTests
{
    private static readonly VfioRegionInfo Bar =
        VfioRegionInfo.Of(new RegionInfo(2, RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap, 0x4000), argsz: 256);

    private static readonly InfoCapability[] Caps =
    [
        new MsixMappableCapability(),
        new SparseMmapCapability([new(0, 0x1000), new(0x2000, 0x2000)]),
        new RegionTypeCapability(0x8000_10de, 7),
        new RawCapability(77, 3, new byte[] { 1, 2, 3 }),
    ];

    private static readonly Gen<InfoCapability> AnyRegionCapability = Gen.OneOf<InfoCapability>(
        Gen.Const(new MsixMappableCapability()),
        Gen.Select(Gen.UInt, Gen.UInt, (type, subtype) => new RegionTypeCapability(type, subtype)),
        Gen.Select(Gen.ULong, Gen.ULong, (offset, size) => new VfioRegionSparseMmapArea(offset, size)).Array[0, 5]
            .Select(areas => new SparseMmapCapability([.. areas])),
        Gen.Select(Gen.UShort[4, ushort.MaxValue], Gen.UShort, Gen.ULong.Array[0, 4], Raw));

    [Fact]
    public void A_chain_starts_behind_the_structure_and_each_capability_says_where_the_next_one_is_IO_4_IO_20()
    {
        var buffer = new byte[144];

        Assert.True(Bar.EncodeReply(buffer, 256, [new MsixMappableCapability(), new SparseMmapCapability([new(0, 0x1000)])]).IsOk);

        Assert.Equal(
            "00010000" + "0F000000" + "02000000" + "20000000" + "0040000000000000" + "0000000000020000" +
            "0300" + "0100" + "28000000" +
            "0100" + "0100" + "00000000" + "01000000" + "00000000" + "0000000000000000" + "0010000000000000",
            Convert.ToHexString(buffer.AsSpan(0, 72)));
        Assert.Equal(-1, buffer.AsSpan(72).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void A_capability_of_odd_length_is_padded_so_that_the_next_one_is_aligned_IO_4()
    {
        var buffer = new byte[256];
        buffer.AsSpan().Fill(0xff);

        Bar.EncodeReply(buffer, 256, [new RawCapability(77, 3, new byte[] { 1, 2, 3 }), new MsixMappableCapability()]);

        Assert.Equal("4D00" + "0300" + "30000000" + "0102030000000000" + "0300" + "0100" + "00000000", Convert.ToHexString(buffer.AsSpan(32, 24)));
    }

    [Fact]
    public void A_chain_that_does_not_fit_leaves_its_size_and_no_offset_IO_4()
    {
        var needed = (uint)(32 + 8 + (16 + 32) + 16 + 16);
        for (var argsz = 32u; argsz < needed; argsz++)
        {
            var buffer = new byte[256];

            Assert.True(Bar.EncodeReply(buffer, argsz, Caps).IsOk);

            Assert.Equal(Bar with { Argsz = needed, Flags = Bar.Flags | RegionFlags.Caps }, VfioRegionInfo.DecodeReply(buffer).Value);
            Assert.Equal(-1, buffer.AsSpan(32).IndexOfAnyExcept((byte)0));
        }

        var enough = new byte[needed];
        Assert.True(Bar.EncodeReply(enough, needed, Caps).IsOk);
        Assert.Equal(32u, VfioRegionInfo.DecodeReply(enough).Value.CapOffset);
    }

    [Fact]
    public void Without_capabilities_the_flag_is_not_set_IO_4()
    {
        var buffer = new byte[32];

        Bar.EncodeReply(buffer, 32, []);

        Assert.Equal(Bar, VfioRegionInfo.DecodeReply(buffer).Value);
        Assert.Empty(VfioRegionInfo.DecodeCapabilities(buffer).Value);
    }

    [Fact]
    public void A_caller_of_the_older_and_shorter_GET_INFO_gets_sixteen_bytes_IO_2_IO_10()
    {
        var buffer = new byte[64];
        var info = VfioDeviceInfo.Of(new DeviceInfo(DeviceFlags.Pci | DeviceFlags.Reset, 9, 5), argsz: 16);

        Assert.True(info.EncodeReply(buffer, 16, [new AtomicCompletionCapability(AtomicCompletionFlags.Bits32)]).IsOk);

        Assert.Equal("28000000" + "83000000" + "09000000" + "05000000" + "00000000", Convert.ToHexString(buffer.AsSpan(0, 20)));
    }

    [Fact]
    public void GET_INFO_tells_of_atomic_completion_IO_10()
    {
        var buffer = new byte[40];
        var info = VfioDeviceInfo.Of(new DeviceInfo(DeviceFlags.Pci, 9, 5), argsz: 40);
        var atomics = new AtomicCompletionCapability(AtomicCompletionFlags.Bits32 | AtomicCompletionFlags.Bits128);

        Assert.True(info.EncodeReply(buffer, 40, [atomics]).IsOk);

        Assert.Equal(
            "28000000" + "82000000" + "09000000" + "05000000" + "18000000" + "00000000" + "0500" + "0100" + "00000000" + "05000000" + "00000000",
            Convert.ToHexString(buffer));
        Assert.Equal([atomics], VfioDeviceInfo.DecodeCapabilities(buffer).Value);
    }

    [Fact]
    public void The_same_id_is_another_capability_in_another_reply_IO_10()
    {
        var buffer = new byte[64];
        var zpci = new RawCapability(DeviceCapabilityIds.ZpciBase, 2, new byte[16]);

        new VfioDeviceInfo { Argsz = 64 }.EncodeReply(buffer, 64, [zpci]);

        var read = Assert.Single(VfioDeviceInfo.DecodeCapabilities(buffer.AsSpan(0, 48)).Value);
        Assert.Equal(zpci, read);
    }

    [Fact]
    public void A_container_s_capabilities_are_kept_as_bytes()
    {
        var buffer = new byte[40];
        var limit = new RawCapability(3, 1, new byte[] { 0xff, 0xff, 0, 0, 0, 0, 0, 0 });

        new VfioIommuType1Info(40, IommuInfoFlags.PageSizes, 0x1000, 0, 0).EncodeReply(buffer, 40, [limit]);

        Assert.Equal(IommuInfoFlags.PageSizes | IommuInfoFlags.Caps, VfioIommuType1Info.DecodeReply(buffer).Value.Flags);
        Assert.Equal([limit], VfioIommuType1Info.DecodeCapabilities(buffer).Value);
    }

    [Fact]
    public void A_chain_that_is_written_reads_as_it_was_IO_4() => AnyRegionCapability.Array[0, 8].Sample(caps =>
    {
        var size = 32 + caps.Sum(cap => (cap.Size + 7) / 8 * 8);
        var buffer = new byte[size];

        Assert.True(Bar.EncodeReply(buffer, (uint)size, caps).IsOk);

        Assert.Equal(caps, VfioRegionInfo.DecodeCapabilities(buffer).Value);
    });

    [Fact]
    public void A_buffer_shorter_than_argsz_is_EFAULT_IO_2() =>
        Assert.Equal(Errno.EFAULT, Bar.EncodeReply(new byte[100], 256, Caps).Error.Errno);

    [Theory]
    [InlineData("inside the structure", 31, 0)]
    [InlineData("behind the reply", 200, 0)]
    [InlineData("without room for a head", 58, 0)]
    [InlineData("back to itself", 32, 32)]
    [InlineData("back to the one before", 40, 32)]
    [InlineData("into its own head", 32, 39)]
    [InlineData("on behind the reply", 32, 64)]
    [InlineData("on far behind the reply", 32, uint.MaxValue)]
    public void A_chain_that_goes_astray_is_EINVAL(string how, uint first, uint next)
    {
        var reply = new byte[64];
        (Bar with { Argsz = 64, CapOffset = first, Flags = RegionFlags.Caps }).Encode(reply);
        new VfioInfoCapHeader(RegionCapabilityIds.MsixMappable, 1, next).Encode(reply.AsSpan((int)Math.Min(first, 56)));

        Assert.True(VfioRegionInfo.DecodeCapabilities(reply).Error.Errno == Errno.EINVAL, how);
    }

    [Theory]
    [InlineData(RegionCapabilityIds.SparseMmap, 1)]
    [InlineData(RegionCapabilityIds.SparseMmap, uint.MaxValue)]
    [InlineData(RegionCapabilityIds.Type, 0)]
    public void A_capability_cut_short_is_EINVAL(ushort id, uint areas)
    {
        var reply = new byte[id == RegionCapabilityIds.Type ? 44 : 60];
        (Bar with { Argsz = 64, CapOffset = 32, Flags = RegionFlags.Caps }).Encode(reply);
        new VfioInfoCapHeader(id, 1, 0).Encode(reply.AsSpan(32));
        BitConverter.TryWriteBytes(reply.AsSpan(40), areas);

        Assert.Equal(Errno.EINVAL, VfioRegionInfo.DecodeCapabilities(reply).Error.Errno);
    }

    [Fact]
    public void A_reply_shorter_than_its_structure_is_EFAULT() =>
        Assert.Equal(Errno.EFAULT, VfioRegionInfo.DecodeCapabilities(new byte[31]).Error.Errno);

    [Fact]
    public void Nothing_behind_argsz_is_read()
    {
        var reply = new byte[64];
        (Bar with { Argsz = 36, CapOffset = 32, Flags = RegionFlags.Caps }).Encode(reply);

        Assert.Equal(Errno.EINVAL, VfioRegionInfo.DecodeCapabilities(reply).Error.Errno);
    }

    private static InfoCapability Raw(ushort id, ushort version, ulong[] body) =>
        new RawCapability(id, version, body.SelectMany(BitConverter.GetBytes).ToArray());
}
