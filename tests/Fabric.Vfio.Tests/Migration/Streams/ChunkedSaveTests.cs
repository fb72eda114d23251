using System.Buffers;
using CsCheck;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Vfio.Tests.Migration.Streams;

/// <summary>
/// A stream that hardware fills by itself: its order, its bounds, its end, and who has which buffer when. CsCheck prints the seed of a failure.
/// </summary>
public sealed class ChunkedSaveTests
{
    private const int BufferBytes = 64;

    /// <summary>Buffers that are watched: none goes back twice, none while hardware has it, and one that went back holds rubbish.</summary>
    private sealed class WatchedPool : ArrayPool<byte>
    {
        private readonly HashSet<byte[]> rented = [];

        public HashSet<byte[]> Hardwares { get; } = [];

        public int Rented
        {
            get
            {
                lock (rented)
                    return rented.Count;
            }
        }

        public int MostRented { get; private set; }

        public override byte[] Rent(int minimumLength)
        {
            var buffer = new byte[minimumLength + 5];
            lock (rented)
            {
                rented.Add(buffer);
                MostRented = Math.Max(MostRented, rented.Count);
            }

            return buffer;
        }

        public override void Return(byte[] array, bool clearArray = false)
        {
            lock (rented)
            {
                Assert.True(rented.Remove(array), "A buffer went back twice.");
                Assert.DoesNotContain(array, Hardwares);
            }

            array.AsSpan().Fill(0xee);
        }
    }

    /// <summary>A run whose chunks complete when a test says so: byte n of the stream is n.</summary>
    private sealed class Hardware(WatchedPool pool, params int[] chunks) : IChunkRun
    {
        private byte next;
        private int begun;
        private (Memory<byte> Buffer, Action<VfioResult<SavedChunk>> Completed)? making;

        public Hardware StartingAt(int value)
        {
            next = (byte)value;
            return this;
        }

        public List<bool> Firsts { get; } = [];

        public int Begun => begun;

        public bool IsMaking => making is not null;

        public VfioResult AtOnce { get; set; }

        /// <summary>Completes each chunk before Save returns.</summary>
        public bool IsImmediate { get; init; }

        public VfioResult Save(Memory<byte> buffer, bool isFirst, Action<VfioResult<SavedChunk>> completed)
        {
            Assert.Null(making);
            Assert.Equal(BufferBytes, buffer.Length);
            if (!AtOnce.IsOk)
                return AtOnce;
            begun++;
            Firsts.Add(isFirst);
            making = (buffer, completed);
            lock (pool.Hardwares)
                pool.Hardwares.Add(ArrayOf(buffer));
            if (IsImmediate)
                Complete();
            return VfioResult.Ok;
        }

        public void Complete(VfioError error = default)
        {
            var (buffer, completed) = making!.Value;
            making = null;
            var length = chunks[begun - 1];
            for (var at = 0; at < length; at++)
                buffer.Span[at + 3] = next++;
            lock (pool.Hardwares)
                pool.Hardwares.Remove(ArrayOf(buffer));
            completed(error.Errno == Errno.None ? new SavedChunk(3, length, begun == chunks.Length) : error);
        }

        public void Complete(SavedChunk chunk)
        {
            var (buffer, completed) = making!.Value;
            making = null;
            lock (pool.Hardwares)
                pool.Hardwares.Remove(ArrayOf(buffer));
            completed(chunk);
        }

        private static byte[] ArrayOf(Memory<byte> buffer)
        {
            Assert.True(System.Runtime.InteropServices.MemoryMarshal.TryGetArray<byte>(buffer, out var segment));
            return segment.Array!;
        }
    }

    private static byte[] Counting(int from, int count) => [.. Enumerable.Range(from, count).Select(value => (byte)value)];

    private static byte[] ReadAll(ChunkedSave stream, int pieces = 7)
    {
        var (all, buffer) = (new List<byte>(), new byte[pieces]);
        while (stream.Read(buffer) is { IsOk: true, Value: > 0 } read)
            all.AddRange(buffer[..read.Value]);
        return [.. all];
    }

    // ---- What comes, and when --------------------------------------------------------------------------------------------------------

    [Fact]
    public void Chunks_come_in_order_and_the_end_is_0_VD_MLX_3()
    {
        var pool = new WatchedPool();
        var stream = new ChunkedSave(2, pool);
        Assert.True(stream.Begin(new Hardware(pool, 10, 61, 1) { IsImmediate = true }, BufferBytes, isLast: true).IsOk);
        Assert.Equal(Counting(0, 72), ReadAll(stream));
        Assert.Equal(0, stream.Read(new byte[1]).Value);
        Assert.Equal(0, pool.Rented);
    }

    [Fact]
    public void What_is_still_being_saved_is_EAGAIN_in_the_last_run_and_nothing_before_it_VD_MLX_3()
    {
        var pool = new WatchedPool();
        var (stream, early, last) = (new ChunkedSave(2, pool), new Hardware(pool, 4), new Hardware(pool, 4));
        stream.Begin(early, BufferBytes, isLast: false);
        Assert.Equal((Errno.None, 0), (stream.Read(new byte[9]).Error.Errno, stream.Read(new byte[9]).Value));
        early.Complete();
        Assert.Equal(4, ReadAll(stream).Length);
        Assert.Equal((Errno.None, 0), (stream.Read(new byte[9]).Error.Errno, stream.Read(new byte[9]).Value));
        stream.Begin(last, BufferBytes, isLast: true);
        Assert.Equal(Errno.EAGAIN, stream.Read(new byte[9]).Error.Errno);
        last.Complete();
        Assert.Equal((4, 0), (ReadAll(stream).Length, stream.Read(new byte[9]).Value));
    }

    [Fact]
    public void The_next_chunk_is_made_while_the_one_before_is_read_VD_MLX_3()
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8, 8));
        stream.Begin(hardware, BufferBytes, isLast: true);
        hardware.Complete();
        Assert.True(hardware.IsMaking);
        Assert.Equal(3, stream.Read(new byte[3]).Value);
        hardware.Complete();
        Assert.False(hardware.IsMaking);
    }

    [Fact]
    public void Nothing_is_made_ahead_of_a_free_buffer()
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8, 8, 8));
        stream.Begin(hardware, BufferBytes, isLast: true);
        hardware.Complete();
        hardware.Complete();
        Assert.Equal((2, 16L), (hardware.Begun, stream.BytesReady));
        Assert.Equal(7, stream.Read(new byte[7]).Value);
        Assert.Equal((2, 9L), (hardware.Begun, stream.BytesReady));
        Assert.Equal(1, stream.Read(new byte[1]).Value);
        Assert.Equal((3, 8L, 2), (hardware.Begun, stream.BytesReady, pool.MostRented));
    }

    [Fact]
    public void A_run_that_is_begun_during_another_follows_it_and_only_its_first_chunk_is_a_first()
    {
        var pool = new WatchedPool();
        var (stream, before, last) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8), new Hardware(pool, 8, 8).StartingAt(16));
        stream.Begin(before, BufferBytes, isLast: false);
        Assert.True(stream.Begin(last, BufferBytes, isLast: true).IsOk);
        Assert.False(last.IsMaking);
        var all = new List<byte>();
        for (var chunk = 0; chunk < 4; chunk++)
        {
            (chunk < 2 ? before : last).Complete();
            all.AddRange(ReadAll(stream));
        }

        Assert.Equal(Counting(0, 32), all);
        Assert.Equal([true, false, true, false], [.. before.Firsts, .. last.Firsts]);
        Assert.Equal(0, stream.Read(new byte[1]).Value);
    }

    [Fact]
    public void One_run_waits_and_no_more_and_none_follows_the_last()
    {
        var pool = new WatchedPool();
        var stream = new ChunkedSave(2, pool);
        stream.Begin(new Hardware(pool, 8), BufferBytes, isLast: false);
        stream.Begin(new Hardware(pool, 8), BufferBytes, isLast: false);
        Assert.Equal(Errno.EBUSY, stream.Begin(new Hardware(pool, 8), BufferBytes, isLast: true).Error.Errno);
        var other = new ChunkedSave(2, pool);
        other.Begin(new Hardware(pool, 8), BufferBytes, isLast: true);
        Assert.Equal(Errno.ENODEV, other.Begin(new Hardware(pool, 8), BufferBytes, isLast: true).Error.Errno);
    }

    [Fact]
    public void A_run_that_ends_without_a_byte_gives_its_buffer_back_and_lets_the_next_one_on()
    {
        var pool = new WatchedPool();
        var (stream, empty, last) = (new ChunkedSave(2, pool), new Hardware(pool, 0), new Hardware(pool, 2));
        stream.Begin(empty, BufferBytes, isLast: false);
        stream.Begin(last, BufferBytes, isLast: true);
        empty.Complete();
        Assert.Equal(1, pool.Rented);
        last.Complete();
        Assert.Equal([0, 1], ReadAll(stream));
    }

    // ---- What goes wrong -------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_first_error_of_hardware_stays_and_ends_the_saving()
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8, 8));
        stream.Begin(hardware, BufferBytes, isLast: true);
        hardware.Complete();
        hardware.Complete(new VfioError(Errno.ETIMEDOUT, "It did."));
        stream.Fail(new VfioError(Errno.EIO, "Later."));
        Assert.Equal((Errno.ETIMEDOUT, Errno.ETIMEDOUT), (stream.Read(new byte[99]).Error.Errno, stream.Read(new byte[99]).Error.Errno));
        Assert.Equal((2, false, Errno.ETIMEDOUT), (hardware.Begun, hardware.IsMaking, stream.Standing.Error.Errno));
        Assert.Equal(Errno.ETIMEDOUT, stream.Begin(hardware, BufferBytes, isLast: true).Error.Errno);
    }

    [Theory]
    [InlineData(Errno.EBUSY, Errno.EBUSY)]
    [InlineData(Errno.EAGAIN, Errno.EIO)]
    [InlineData(Errno.ENOMSG, Errno.EIO)]
    public void What_hardware_refuses_at_once_is_an_error_that_no_reader_takes_for_later(Errno refused, Errno told)
    {
        var pool = new WatchedPool();
        var stream = new ChunkedSave(2, pool);
        var hardware = new Hardware(pool, 8) { AtOnce = VfioResult.Fail(refused, "No.") };
        Assert.Equal(told, stream.Begin(hardware, BufferBytes, isLast: true).Error.Errno);
        Assert.Equal((told, 0, true), (stream.Read(new byte[1]).Error.Errno, pool.Rented, stream.IsIdle));
    }

    [Theory]
    [InlineData(-1, 4, false)]
    [InlineData(1, BufferBytes, true)]
    [InlineData(int.MaxValue, 1, true)]
    [InlineData(0, -1, true)]
    [InlineData(0, 0, false)]
    public void A_chunk_that_cannot_be_is_EIO(int start, int length, bool isLast)
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8));
        stream.Begin(hardware, BufferBytes, isLast: true);
        hardware.Complete(new SavedChunk(start, length, isLast));
        Assert.Equal((Errno.EIO, 0), (stream.Read(new byte[1]).Error.Errno, pool.Rented));
    }

    // ---- Its end ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_close_returns_at_once_and_hardware_keeps_its_buffer_until_it_has_done_with_it()
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8));
        stream.Begin(hardware, BufferBytes, isLast: true);
        hardware.Complete();
        stream.Close();
        Assert.Equal((1, false, Errno.ENODEV), (pool.Rented, stream.IsIdle, stream.Read(new byte[1]).Error.Errno));
        hardware.Complete();
        Assert.Equal((0, true, false), (pool.Rented, stream.IsIdle, hardware.IsMaking));
    }

    [Fact]
    public void Stopped_it_finishes_the_chunk_in_the_making_and_no_other()
    {
        var pool = new WatchedPool();
        var (stream, hardware) = (new ChunkedSave(2, pool), new Hardware(pool, 8, 8, 8));
        stream.Begin(hardware, BufferBytes, isLast: false);
        stream.Stop();
        Assert.False(stream.IsIdle);
        hardware.Complete();
        Assert.Equal((true, false, 1), (stream.IsIdle, stream.IsSaving, hardware.Begun));
    }

    // ---- All of it together ----------------------------------------------------------------------------------------------------------

    [Fact]
    public void In_whatever_order_chunks_complete_and_are_read_the_stream_is_whole_and_within_its_buffers() => Gen.Select(
        Gen.Int[1, 3], Gen.Int[1, BufferBytes - 3].Array[1, 8], Gen.Int[1, BufferBytes - 3].Array[1, 8], Gen.Int[0, 40].Array[1, 60])
        .Sample((buffers, early, late, turns) =>
        {
            var pool = new WatchedPool();
            var (stream, all) = (new ChunkedSave(buffers, pool), new List<byte>());
            var (before, last) = (new Hardware(pool, early), new Hardware(pool, late).StartingAt(early.Sum()));
            stream.Begin(before, BufferBytes, isLast: false);
            stream.Begin(last, BufferBytes, isLast: true);
            var turn = 0;
            while (true)
            {
                var (making, piece) = (before.IsMaking || last.IsMaking, new byte[turns[turn++ % turns.Length]]);
                if (making && (piece.Length % 2 == 0 || turn > 1000))
                    (before.IsMaking ? before : last).Complete();
                var read = stream.Read(piece);
                if (read.IsOk)
                    all.AddRange(piece[..read.Value]);
                else
                    Assert.Equal(Errno.EAGAIN, read.Error.Errno);
                if (read is { IsOk: true, Value: 0 } && piece.Length > 0)
                    break;
                if (piece.Length == 0 && turn > 1000)
                    turns = [1, 2];
            }

            Assert.Equal(Counting(0, early.Sum() + late.Sum()), all);
            Assert.True(pool.MostRented <= buffers);
            Assert.Equal(0, pool.Rented);
        }, iter: 500);

    /// <summary>Chunks complete on threads of their own, as hardware's do; the reader spins on EAGAIN.</summary>
    [Fact]
    public async Task Hardware_on_its_own_thread_and_a_reader_on_his_lose_nothing()
    {
        var pool = new WatchedPool();
        for (var round = 0; round < 200; round++)
        {
            var stream = new ChunkedSave(2, pool);
            Assert.True(stream.Begin(new OwnThread(40), BufferBytes, isLast: true).IsOk);
            var all = await Task.Run(() => ReadToEnd(stream), TestContext.Current.CancellationToken);
            Assert.Equal(Counting(0, 40 * 50), all);
        }

        Assert.True(pool.MostRented <= 2);
    }

    /// <summary>Errors, a stop and a close at any moment, from another thread than the hardware's: at the end no buffer is missing.</summary>
    [Fact]
    public async Task Closed_at_any_moment_every_buffer_comes_back_once()
    {
        var pool = new WatchedPool();
        for (var round = 0; round < 500; round++)
        {
            var (stream, hardware) = (new ChunkedSave(2, pool), new OwnThread(40));
            stream.Begin(hardware, BufferBytes, isLast: true);
            for (var read = 0; read < round % 40; read++)
                stream.Read(new byte[17]);
            if (round % 3 == 0)
                stream.Fail(new VfioError(Errno.EIO, "It failed."));
            stream.Close();
            await hardware.QuietAsync();
            Assert.Equal((true, 0), (stream.IsIdle, pool.Rented));
        }
    }

    private static byte[] ReadToEnd(ChunkedSave stream)
    {
        var (all, piece, spin) = (new List<byte>(), new byte[37], default(SpinWait));
        while (true)
        {
            var read = stream.Read(piece);
            if (read.Error.Errno == Errno.EAGAIN)
                spin.SpinOnce(sleep1Threshold: -1);
            else if (read.Value == 0)
                return [.. all];
            else
                all.AddRange(piece[..read.Value]);
        }
    }

    /// <summary>So many chunks of 50 bytes, each made by a task.</summary>
    private sealed class OwnThread(int chunks) : IChunkRun
    {
        private Task last = Task.CompletedTask;
        private byte next;
        private int begun;

        public VfioResult Save(Memory<byte> buffer, bool isFirst, Action<VfioResult<SavedChunk>> completed)
        {
            begun++;
            last = Task.Run(() =>
            {
                for (var at = 0; at < 50; at++)
                    buffer.Span[at] = next++;
                completed(new SavedChunk(0, 50, begun == chunks));
            });
            return VfioResult.Ok;
        }

        /// <summary>Nothing is in the making, and a closed stream begins nothing any more.</summary>
        public async Task QuietAsync()
        {
            Task waited;
            do
            {
                waited = last;
                await waited;
            }
            while (waited != last);
        }
    }
}
