using CsCheck;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Vfio.Tests.Migration.Streams;

/// <summary>A loading stream that is kept: any chunks are one stream, and what was refused once stays refused.</summary>
public sealed class LoadBufferTests
{
    private static readonly VfioResult Foreign = VfioResult.Fail(Errno.EFAULT, "It is another device's.");

    [Fact]
    public void Any_chunks_are_one_stream_and_the_check_sees_each_byte_as_new_once_MG_23() =>
        Gen.Byte.Array[0, 30].Array[0, 20].Sample(chunks =>
        {
            var seen = new List<byte>();
            var buffer = new LoadBuffer(chunks.Sum(static chunk => chunk.Length), (content, before) =>
            {
                Assert.Equal(seen.Count, before);
                seen.AddRange(content[before..]);
                return VfioResult.Ok;
            });
            foreach (var chunk in chunks)
                Assert.True(buffer.Write(chunk).IsOk);

            var whole = chunks.SelectMany(static chunk => chunk).ToArray();
            Assert.Equal(whole, buffer.Content);
            Assert.Equal(whole, seen);
        }, iter: FuzzRun.Times(2000));

    /// <summary>The first byte that is wrong decides, wherever chunks end; nothing that follows is taken.</summary>
    [Fact]
    public void What_is_wrong_is_refused_at_the_write_that_brings_it_and_from_then_on_MG_24() =>
        Gen.Select(Gen.Byte[1, 255].Array[1, 60], Gen.Int[0, 59], Gen.Int[1, 20].Array[1, 60]).Sample((good, wrongAt, sizes) =>
        {
            var stream = good.ToArray();
            wrongAt %= stream.Length;
            stream[wrongAt] = 0;
            var buffer = new LoadBuffer(stream.Length, static (content, before) => content[before..].Contains((byte)0) ? Foreign : VfioResult.Ok);
            var at = 0;
            foreach (var size in sizes.Concat(Enumerable.Repeat(1, stream.Length)))
            {
                var next = Math.Min(stream.Length, at + size);
                Assert.Equal(next > wrongAt ? Foreign : VfioResult.Ok, buffer.Write(stream.AsSpan(at..next)));
                at = next;
            }

            Assert.Equal(Foreign, buffer.Standing);
            Assert.InRange(buffer.Content.Length, wrongAt + 1, stream.Length);
        }, iter: FuzzRun.Times(2000));

    [Fact]
    public void Too_much_is_ENOMEM_with_nothing_taken_and_stays_so_MG_24()
    {
        var buffer = new LoadBuffer(4);
        Assert.True(buffer.Write([1, 2, 3]).IsOk);

        Assert.Equal(Errno.ENOMEM, buffer.Write([4, 5]).Error.Errno);
        Assert.Equal(Errno.ENOMEM, buffer.Write([4]).Error.Errno);
        Assert.Equal(Errno.ENOMEM, buffer.Standing.Error.Errno);
        Assert.Equal<byte>([1, 2, 3], buffer.Content.ToArray());
    }

    [Fact]
    public void The_first_error_stays_whatever_comes_after_it_MG_24()
    {
        var buffer = new LoadBuffer(2, static (_, _) => Foreign);
        buffer.Write([1]);

        Assert.Equal(Foreign, buffer.Write([1, 2, 3, 4]));
    }

    [Fact]
    public void It_is_not_read_MG_20() => Assert.Equal(Errno.EINVAL, ((IMigrationData)new LoadBuffer(4)).Read(new byte[1]).Error.Errno);
}
