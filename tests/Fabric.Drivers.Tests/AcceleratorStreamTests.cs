using System.Buffers.Binary;
using Akka.TestKit.Xunit;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests;

/// <summary>The accelerator's migration stream: what it carries, and what its target makes of one that is not as it was sent.</summary>
public sealed class AcceleratorStreamTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const int HeadBytes = 24;
    private const uint Blocks = 2;

    /// <summary>Of a size whose blocks take four records.</summary>
    private const long StateBytes = AcceleratorState.Granule * 16;

    public static TheoryData<string, Func<List<byte[]>, IEnumerable<byte[]>>> Disorder => new()
    {
        { "two records of blocks in the wrong order", records => [records[0], records[2], records[1], .. records[3..]] },
        { "a record of blocks twice", records => [.. records[..2], records[1], .. records[2..]] },
        { "a record of blocks missing", records => [records[0], .. records[2..]] },
        { "the last record of blocks missing", records => [.. records[..4], .. records[5..]] },
        { "the header twice", records => [records[0], .. records] },
        { "the context before the last blocks", records => [.. records[..4], records[5], records[4], records[6]] },
        { "the context twice", records => [.. records[..6], records[5], records[6]] },
        { "an end in the middle", records => [.. records[..3], records[6], .. records[3..]] },
        { "more after its end", records => [.. records, records[6]] },
    };

    [Theory]
    [MemberData(nameof(Disorder))]
    public async Task A_stream_that_is_not_as_it_was_sent_is_refused_and_a_reset_makes_the_device_usable_MG_23_MG_24(
        string what, Func<List<byte[]>, IEnumerable<byte[]>> disorder)
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1, StateBytes);
        using var target = await Lab.OpenAsync(Sys, TestActor, 2, StateBytes);
        var whole = Lab.ReadAll(await source.EnterAsync(MigrationState.StopCopy));
        var records = Records(whole);
        Assert.Equal(7, records.Count);

        var stream = await target.EnterAsync(MigrationState.Resuming);
        var written = stream.Write(disorder(records).SelectMany(record => record).ToArray());
        Assert.True(written.Error.Errno == Errno.EINVAL, $"{what}: {written.Error}");
        Assert.Equal(Errno.EINVAL, (await target.Client.SetMigrationStateAsync(MigrationState.Stop)).Error.Errno);

        Assert.True((await target.Client.ResetAsync()).IsOk);
        stream = await target.EnterAsync(MigrationState.Resuming);
        Assert.True(stream.Write(whole).IsOk);
        Assert.True((await target.Client.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
    }

    [Fact]
    public async Task A_state_that_was_refused_stays_refused_however_often_it_is_asked_to_be_taken_MG_23()
    {
        using var target = await Lab.OpenAsync(Sys, TestActor, 1);
        await target.EnterAsync(MigrationState.Resuming);
        for (var times = 0; times < 3; times++)
            Assert.Equal(Errno.EINVAL, (await target.Client.SetMigrationStateAsync(MigrationState.Stop)).Error.Errno);
        Assert.Equal(MigrationState.Resuming, (await target.Client.GetMigrationStateAsync()).Value);
    }

    [Fact]
    public async Task Initial_bytes_are_the_blocks_that_never_went_out_and_come_to_an_end_while_the_device_goes_on_MG_25()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1, StateBytes);
        await source.RunAsync();
        var stream = await source.EnterAsync(MigrationState.PreCopy);
        var (all, buffer, last) = (new List<byte>(), new byte[100_000], (ulong)StateBytes);
        for (var reads = 0; reads < 100 && last > 0; reads++)
        {
            source.Advance(2);
            if (stream.Read(buffer) is { IsOk: true } read)
                all.AddRange(buffer.AsSpan(0, read.Value));
            var initial = stream.GetPrecopyInfo().Value.InitialBytes;
            Assert.Equal((ulong)(StateBytes - (BlocksIn([.. all]).Count * AcceleratorState.BlockBytes)), initial);
            last = initial;
        }

        Assert.Equal(0UL, last);
    }

    [Fact]
    public async Task Blocks_that_change_all_the_time_do_not_keep_the_others_back_MG_25()
    {
        using var source = await Lab.OpenAsync(Sys, TestActor, 1, StateBytes);
        await source.RunAsync();
        var stream = await source.EnterAsync(MigrationState.PreCopy);
        var buffer = new byte[32 * AcceleratorState.BlockBytes];
        var budget = 4 * StateBytes / buffer.Length;
        while (stream.GetPrecopyInfo().Value.InitialBytes > 0 && budget-- > 0)
        {
            // A block of every track: twice what is read meanwhile.
            source.Advance(AcceleratorState.Tracks);
            stream.Read(buffer);
        }

        Assert.Equal(0UL, stream.GetPrecopyInfo().Value.InitialBytes);
    }

    /// <summary>The stream as its records, each with its head.</summary>
    private static List<byte[]> Records(byte[] stream)
    {
        var records = new List<byte[]>();
        for (var at = 0; at < stream.Length; at += records[^1].Length)
            records.Add(stream[at..(at + HeadBytes + BinaryPrimitives.ReadInt32LittleEndian(stream.AsSpan(at + 4)))]);
        return records;
    }

    /// <summary>Every block of which all bytes are there.</summary>
    private static HashSet<ulong> BlocksIn(byte[] stream)
    {
        var blocks = new HashSet<ulong>();
        for (var at = 0; at + HeadBytes <= stream.Length;)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(stream.AsSpan(at + 4));
            var first = BinaryPrimitives.ReadUInt64LittleEndian(stream.AsSpan(at + 8)) / AcceleratorState.BlockBytes;
            var there = Math.Min(length, stream.Length - at - HeadBytes) / AcceleratorState.BlockBytes;
            if (BinaryPrimitives.ReadUInt32LittleEndian(stream.AsSpan(at)) == Blocks)
                blocks.UnionWith(Enumerable.Range(0, there).Select(block => first + (ulong)block));
            at += HeadBytes + length;
        }

        return blocks;
    }
}
