using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>Short and oversized argsz, for every request that has one (TS-11).</summary>
public sealed class ArgszTests
{
    public static IEnumerable<TheoryDataRow<RequestCodec>> Requests() => StructCodec.Requests.Select(codec => new TheoryDataRow<RequestCodec>(codec));

    [Theory]
    [MemberData(nameof(Requests))]
    public void An_argsz_below_the_minimum_is_EINVAL_however_long_the_buffer_is(RequestCodec codec)
    {
        for (var argsz = 0; argsz < codec.MinSize; argsz++)
            Assert.Equal(Errno.EINVAL, codec.Decode(codec.Sample((uint)argsz), out _));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void From_the_minimum_on_every_argsz_will_do(RequestCodec codec)
    {
        for (var argsz = codec.MinSize; argsz < codec.Size + 64; argsz++)
            Assert.Equal((argsz, Errno.None), (argsz, codec.Decode(codec.Sample((uint)argsz), out _)));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void An_argsz_far_beyond_the_buffer_is_no_error_by_itself(RequestCodec codec)
    {
        var request = codec.Sample((uint)codec.Size);
        MemoryMarshal.Write(request, uint.MaxValue);

        Assert.Equal(Errno.None, codec.Decode(request, out _));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_buffer_shorter_than_the_minimum_is_EFAULT_where_argsz_promised_more_IO_2(RequestCodec codec)
    {
        var request = codec.Sample((uint)codec.Size);
        for (var length = 0; length < codec.MinSize; length++)
            Assert.Equal(Errno.EFAULT, codec.Decode(request.AsSpan(0, length), out _));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void Bytes_past_the_structure_are_E2BIG_for_BIND_and_iommufd_and_ignored_by_the_others_IO_100(RequestCodec codec)
    {
        var request = codec.Sample((uint)codec.Size + 9);
        request[codec.Size + 8] = 1;
        var expected = codec.Name == nameof(VfioDeviceBindIommufd) || codec.Name.StartsWith("Iommu", StringComparison.Ordinal);

        Assert.Equal(expected ? Errno.E2BIG : Errno.None, codec.Decode(request, out _));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void What_the_caller_did_not_lend_is_read_as_zero(RequestCodec codec)
    {
        var request = codec.Sample((uint)codec.MinSize);
        request.AsSpan(Math.Max(codec.MinSize, 8)).Fill(0xff);
        var encoded = new byte[codec.Size];

        Assert.Equal(Errno.None, codec.Decode(request, out var value));

        codec.Encode(value, encoded);
        Assert.Equal(-1, encoded.AsSpan(codec.MinSize).IndexOfAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_reply_writes_what_argsz_covers_and_no_byte_beyond_IO_2(RequestCodec codec)
    {
        var value = codec.Read(Enumerable.Range(1, codec.Size).Select(i => (byte)i).ToArray())!;
        for (var argsz = 0; argsz < codec.Size + 16; argsz++)
        {
            var buffer = new byte[codec.Size + 16];

            Assert.True(codec.EncodeReply(value, buffer, (uint)argsz).IsOk);

            Assert.Equal(Math.Min(argsz, codec.Size), buffer.AsSpan().IndexOf((byte)0));
            Assert.Equal(-1, buffer.AsSpan(Math.Min(argsz, codec.Size)).IndexOfAnyExcept((byte)0));
        }
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_buffer_shorter_than_the_reply_is_EFAULT_and_untouched_IO_2(RequestCodec codec)
    {
        var value = codec.Read(Enumerable.Range(1, codec.Size).Select(i => (byte)i).ToArray())!;
        var buffer = new byte[codec.Size - 1];

        Assert.Equal(Errno.EFAULT, codec.EncodeReply(value, buffer, (uint)codec.Size).Error.Errno);
        Assert.Equal(-1, buffer.AsSpan().IndexOfAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_refusal_names_its_structure(RequestCodec codec)
    {
        if (codec.MinSize > 0)
            Assert.StartsWith(codec.Name + ": ", codec.Refusal(codec.Sample(0)).Sentence, StringComparison.Ordinal);
        Assert.StartsWith(codec.Name + ": ", codec.Refusal([]).Sentence, StringComparison.Ordinal);
    }
}
