using CsCheck;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Migration.Streams;

/// <summary>A saving stream in memory: what is appended is what is read, in whatever parts.</summary>
public sealed class SaveBufferTests
{
    [Fact]
    public void What_is_read_in_any_chunks_is_what_was_appended_in_any_parts_MG_22() =>
        Gen.Select(Gen.Byte.Array[0, 40].Array[0, 12], Gen.Int[1, 60].Array[1, 40]).Sample((parts, chunks) =>
        {
            var buffer = new SaveBuffer(parts.Sum(static part => part.Length));
            var read = new List<byte>();
            for (var i = 0; i < Math.Max(parts.Length, chunks.Length) || read.Count < buffer.Content.Length; i++)
            {
                if (i < parts.Length)
                    Assert.True(buffer.Append(parts[i]).IsOk);
                read.AddRange(Read(buffer, chunks[i % chunks.Length]));
            }

            Assert.Equal(parts.SelectMany(static part => part), read);
            Assert.Equal(0, buffer.Read(new byte[4]).Value);
        }, iter: FuzzRun.Times(2000));

    [Fact]
    public void Past_the_capacity_nothing_is_appended_and_ENOSPC()
    {
        var buffer = new SaveBuffer(4);
        Assert.True(buffer.Append([1, 2, 3]).IsOk);

        Assert.Equal((Errno.ENOSPC, true), (buffer.Append([4, 5]).Error.Errno, buffer.Reserve(2).IsEmpty));
        Assert.True(buffer.Append([4]).IsOk);
        Assert.Equal<byte>([1, 2, 3, 4], buffer.Content.ToArray());
    }

    [Fact]
    public void Nothing_is_appended_to_a_full_one()
    {
        var buffer = new SaveBuffer(0);
        Assert.Equal((true, Errno.ENOSPC), (buffer.Append([]).IsOk, buffer.Append([1]).Error.Errno));
    }

    [Fact]
    public void What_is_reserved_is_filled_in_place()
    {
        var buffer = new SaveBuffer(4);
        buffer.Append([1]);
        buffer.Reserve(2).Fill(9);

        Assert.Equal([1, 9, 9], Read(buffer, 10));
    }

    [Fact]
    public void PRECOPY_INFO_counts_the_start_up_set_and_then_the_rest_MG_25()
    {
        var buffer = new SaveBuffer(10);
        buffer.Append(new byte[4]);
        Assert.Equal(new PrecopyInfo(0, 4), buffer.GetPrecopyInfo().Value);
        buffer.EndStartUpSet();
        buffer.Append(new byte[3]);
        Assert.Equal(new PrecopyInfo(4, 3), buffer.GetPrecopyInfo().Value);
        Read(buffer, 1);
        Assert.Equal(new PrecopyInfo(3, 3), buffer.GetPrecopyInfo().Value);
        Read(buffer, 4);
        Assert.Equal(new PrecopyInfo(0, 2), buffer.GetPrecopyInfo().Value);
        Read(buffer, 4);
        Assert.Equal(default, buffer.GetPrecopyInfo().Value);
    }

    [Fact]
    public void Whenever_the_start_up_set_ends_and_whatever_was_read_PRECOPY_INFO_counts_what_is_left_of_it_MG_25() =>
        Gen.Select(Gen.Int[0, 20], Gen.Int[0, 20], Gen.Int[0, 20], Gen.Int[0, 60]).Sample((before, readBefore, after, readAfter) =>
        {
            var buffer = new SaveBuffer(before + after);
            buffer.Append(new byte[before]);
            readBefore = Read(buffer, readBefore).Length;
            buffer.EndStartUpSet();
            buffer.Append(new byte[after]);
            var read = readBefore + Read(buffer, readAfter).Length;

            var initial = Math.Max(0, before - read);
            Assert.Equal(new PrecopyInfo((ulong)initial, (ulong)(before + after - read - initial)), buffer.GetPrecopyInfo().Value);
        }, iter: FuzzRun.Times(2000));

    [Fact]
    public void It_is_not_written_MG_20() => Assert.Equal(Errno.EINVAL, ((IMigrationData)new SaveBuffer(4)).Write([1]).Error.Errno);

    private static byte[] Read(SaveBuffer buffer, int count)
    {
        var chunk = new byte[count];
        return chunk[..buffer.Read(chunk).Value];
    }
}
