namespace Fabric.Migration.DataPlane;

/// <summary>
/// What a source keeps of its stream: whole frames from the first byte that the target has not acknowledged to the last one composed. A frame
/// lies in one piece, so that it can be composed in place. What was acknowledged last is used again first, since a cache still has it: how much
/// memory is in use is how much is under way. Positions count the bytes of all frames from the stream's beginning.
/// </summary>
/// <param name="limit">As <see cref="Limit"/>, at first.</param>
internal sealed class Window(long limit)
{
    /// <summary>The longest slice fills a chunk, and so leaves in one piece with its header.</summary>
    private const int ChunkBytes = FrameHeader.Size + MigrationWriter.SliceBytes;

    private readonly Lock _gate = new();
    private readonly Queue<Chunk> _kept = new();
    private readonly Stack<Chunk> _free = new();
    private Chunk _last = new(0);
    private long _limit = limit;
    private long _acknowledged;
    private long _sent;
    private long _end;

    /// <summary>How many bytes may be kept before there is no room for another frame; the one that passes it, it passes by its length at most.</summary>
    public long Limit
    {
        get => Volatile.Read(ref _limit);
        set => Volatile.Write(ref _limit, value);
    }

    /// <summary>How many bytes wait to be sent.</summary>
    public long Waiting
    {
        get
        {
            lock (_gate)
                return _end - _sent;
        }
    }

    /// <summary>Room for a frame after all others, good until the next call; false if as much is kept as may be.</summary>
    public bool TryReserve(int bytes, out Memory<byte> room)
    {
        lock (_gate)
        {
            if (_end - _acknowledged >= Limit)
            {
                room = default;
                return false;
            }

            if (_acknowledged == _end)
                _last.Begin(_end);
            if (_last.Room < bytes)
                Extend(bytes);
            room = _last.Free(bytes);
            return true;
        }
    }

    /// <summary>The next frame is composed, in the first <paramref name="bytes"/> of the room that was reserved for it.</summary>
    public void Append(int bytes)
    {
        lock (_gate)
        {
            _last.Fill(bytes);
            _end += bytes;
        }
    }

    /// <summary>What to send next, as far as it lies in one piece; empty if everything is sent.</summary>
    public ReadOnlyMemory<byte> Next()
    {
        lock (_gate)
        {
            foreach (var chunk in _kept)
            {
                if (_sent < chunk.End)
                    return chunk.From(_sent);
            }

            return default;
        }
    }

    public void Sent(int bytes)
    {
        lock (_gate)
            _sent += bytes;
    }

    /// <summary>The target has everything before <paramref name="position"/>; false if it cannot.</summary>
    public bool Acknowledge(long position)
    {
        lock (_gate)
        {
            if (position < _acknowledged || position > _sent)
                return false;
            _acknowledged = position;

            // The last one may have room that is reserved.
            while (_kept.TryPeek(out var oldest) && oldest != _last && oldest.End <= position)
                Recycle(_kept.Dequeue());
            return true;
        }
    }

    /// <summary>The target has everything before <paramref name="position"/> and wants the rest anew; false if it cannot.</summary>
    public bool Rewind(long position)
    {
        lock (_gate)
        {
            if (!Acknowledge(position))
                return false;
            _sent = position;
            return true;
        }
    }

    private void Extend(int bytes)
    {
        if (_acknowledged == _end && _kept.TryDequeue(out var only))
            Recycle(only);
        _last = bytes <= ChunkBytes && _free.TryPop(out var free) ? free : new Chunk(Math.Max(bytes, ChunkBytes));
        _last.Begin(_end);
        _kept.Enqueue(_last);
    }

    private void Recycle(Chunk chunk)
    {
        if (chunk.IsUsual)
            _free.Push(chunk);
    }

    /// <param name="length">In bytes.</param>
    private sealed class Chunk(int length)
    {
        private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(length);
        private long _first;
        private int _filled;

        public bool IsUsual => _bytes.Length == ChunkBytes;

        public int Room => _bytes.Length - _filled;

        public long End => _first + _filled;

        public void Begin(long position) => (_first, _filled) = (position, 0);

        public Memory<byte> Free(int bytes) => _bytes.AsMemory(_filled, bytes);

        public void Fill(int bytes) => _filled += bytes;

        public ReadOnlyMemory<byte> From(long position) => _bytes.AsMemory((int)(position - _first), (int)(End - position));
    }
}
