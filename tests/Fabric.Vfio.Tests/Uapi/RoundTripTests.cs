using CsCheck;

namespace Fabric.Vfio.Tests.Uapi;

public sealed class RoundTripTests
{
    public static IEnumerable<TheoryDataRow<StructCodec>> Structures() => StructCodec.All.Select(codec => new TheoryDataRow<StructCodec>(codec));

    [Theory]
    [MemberData(nameof(Structures))]
    public void Any_bytes_read_as_a_structure_are_written_as_they_were(StructCodec codec) => Gen.Byte.Array[codec.Size].Sample(bytes =>
    {
        var encoded = new byte[codec.Size];
        var value = codec.Read(bytes)!;

        Assert.True(codec.Encode(value, encoded).IsOk);
        Assert.Equal(bytes, encoded);
        Assert.Equal(value, codec.Read(encoded));
    }, iter: 100);

    [Theory]
    [MemberData(nameof(Structures))]
    public void Fewer_bytes_than_the_structure_has_are_not_read_and_not_written(StructCodec codec)
    {
        var shorter = new byte[codec.Size - 1];

        Assert.Null(codec.Read(shorter));
        Assert.Equal(Errno.EFAULT, codec.Encode(codec.Read(new byte[codec.Size])!, shorter).Error.Errno);
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void Reading_writing_and_refusing_a_structure_allocates_nothing(StructCodec codec)
    {
        var good = codec is RequestCodec request ? request.Sample((uint)codec.Size) : new byte[codec.Size + 64];
        var refused = new byte[codec.Size];
        codec.Take(good);
        codec.Take(refused);
        codec.Take([]);
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 100; i++)
        {
            codec.Take(good);
            codec.Take(refused);
            codec.Take([]);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
