using CsCheck;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Vfio.Tests.Migration.Streams;

/// <summary>A stream of records: a kind and a length of one byte each, and a payload; kind 0 is nobody's.</summary>
public sealed class RecordReaderTests
{
    private static readonly Gen<byte[]> AnyRecord = Gen.Select(
        Gen.Byte[1, 255], Gen.Byte.Array[0, 40], static (kind, payload) => (byte[])[kind, (byte)payload.Length, .. payload]);

    private static readonly Gen<int[]> AnySizes = Gen.Int[1, 50].Array[1, 10];

    [Fact]
    public void Records_are_the_same_in_any_chunks_MG_23() => Gen.Select(AnyRecord.Array[0, 10], AnySizes).Sample((records, sizes) =>
    {
        var sink = new Records();
        var reader = new RecordReader(2, sink);
        Assert.True(Write(reader, [.. records.SelectMany(static record => record)], sizes).IsOk);

        Assert.True(reader.Finish().IsOk);
        Assert.Equal(records, sink.Whole);
        Assert.Equal(records.Sum(static record => record.Length - 2), sink.Parts);
    }, iter: FuzzRun.Times(2000));

    [Fact]
    public void A_stream_that_ends_within_a_record_is_EINVAL_and_one_that_ends_between_two_is_not_MG_24() =>
        Gen.Select(AnyRecord.Array[1, 6], AnySizes, Gen.Int[0, 250]).Sample((records, sizes, cut) =>
        {
            byte[] stream = [.. records.SelectMany(static record => record)];
            cut %= stream.Length;
            var ends = records.Aggregate(new List<int> { 0 }, static (all, record) => [.. all, all[^1] + record.Length]);
            var reader = new RecordReader(2, new Records());
            Assert.True(Write(reader, stream.AsSpan(..cut), sizes).IsOk);

            Assert.Equal(ends.Contains(cut), reader.IsBetweenRecords);
            Assert.Equal(ends.Contains(cut) ? Errno.None : Errno.EINVAL, reader.Finish().Error.Errno);
            // It may be gone on with.
            Assert.True(Write(reader, stream.AsSpan(cut..), sizes).IsOk);
            Assert.True(reader.Finish().IsOk);
        }, iter: FuzzRun.Times(2000));

    /// <summary>At the header, in the payload, or at the end of the n-th record: nothing after it reaches the sink.</summary>
    [Fact]
    public void The_first_error_of_the_sink_stays_and_the_sink_is_asked_no_more_MG_24() =>
        Gen.Select(AnyRecord.Array[1, 8], AnySizes, Gen.Int[0, 30]).Sample((records, sizes, failAt) =>
        {
            var sink = new Records { FailAt = failAt };
            var reader = new RecordReader(2, sink);
            byte[] stream = [.. records.SelectMany(static record => record)];
            var outcome = Write(reader, stream, sizes);
            if (sink.Calls <= failAt)
            {
                Assert.True(outcome.IsOk);
                return;
            }

            Assert.Equal((failAt + 1, Errno.EOVERFLOW), (sink.Calls, outcome.Error.Errno));
            Assert.Equal(outcome, reader.Write([1, 0]));
            Assert.Equal((outcome, outcome), (reader.Standing, reader.Finish()));
            Assert.Equal(failAt + 1, sink.Calls);
        }, iter: FuzzRun.Times(2000));

    [Fact]
    public void Any_bytes_are_taken_or_refused_and_the_reader_stands() => Gen.Select(Gen.Byte.Array[0, 200], AnySizes).Sample((bytes, sizes) =>
    {
        var sink = new Records();
        var reader = new RecordReader(2, sink);
        var outcome = Write(reader, bytes, sizes);
        Assert.Equal(outcome, reader.Standing);
        // What was taken whole is a prefix of what came.
        Assert.Equal(sink.Whole.SelectMany(static record => record), bytes[..sink.Whole.Sum(static record => record.Length)]);
    }, iter: FuzzRun.Times(2000));

    [Fact]
    public void A_payload_of_more_than_memory_holds_is_given_on_as_it_comes()
    {
        var sink = new Records { Payload = 1UL << 32 };
        var reader = new RecordReader(2, sink);
        Assert.True(reader.Write([1, 0]).IsOk);
        Assert.True(reader.Write(new byte[1000]).IsOk);

        Assert.Equal((1000, false), (sink.Parts, reader.IsBetweenRecords));
    }

    [Fact]
    public void It_is_not_read_MG_20() =>
        Assert.Equal(Errno.EINVAL, ((IMigrationData)new RecordReader(2, new Records())).Read(new byte[1]).Error.Errno);

    private static VfioResult Write(RecordReader reader, ReadOnlySpan<byte> stream, int[] sizes)
    {
        for (var i = 0; !stream.IsEmpty; i++)
        {
            var size = Math.Min(stream.Length, sizes[i % sizes.Length]);
            reader.Write(stream[..size]);
            stream = stream[size..];
        }

        return reader.Standing;
    }

    private sealed class Records : IRecordSink
    {
        private readonly List<byte> current = [];

        public List<byte[]> Whole { get; } = [];

        public int Calls { get; private set; }

        /// <summary>The call that fails.</summary>
        public int FailAt { get; init; } = int.MaxValue;

        /// <summary>Bytes of payload in place of what the header says.</summary>
        public ulong? Payload { get; init; }

        /// <summary>Bytes of payload that came.</summary>
        public int Parts { get; private set; }

        public VfioResult<ulong> Begin(ReadOnlySpan<byte> header)
        {
            current.Clear();
            current.AddRange(header);
            if (Next() is { IsOk: false } failed)
                return failed.Error;
            return header[0] == 0 ? new VfioError(Errno.EFAULT, "There is no such record.") : Payload ?? header[1];
        }

        public VfioResult Take(ReadOnlySpan<byte> part)
        {
            Assert.False(part.IsEmpty);
            current.AddRange(part);
            Parts += part.Length;
            return Next();
        }

        public VfioResult End()
        {
            Whole.Add([.. current]);
            return Next();
        }

        private VfioResult Next() => Calls++ == FailAt ? VfioResult.Fail(Errno.EOVERFLOW, "The test says so.") : VfioResult.Ok;
    }
}
