using System.Buffers;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// What a source keeps of its stream: whole frames from the first byte that the target has not acknowledged to the last one composed, in one
/// pooled buffer that is used round and round. A frame lies in one piece, so that it can be composed in place: what is too long for the rest
/// of the buffer begins a new lap. Positions count the bytes of all frames from the stream's beginning.
/// </summary>
internal sealed class Window(int capacity) : IDisposable
{
    private readonly Lock _gate = new();
    private byte[]? _buffer = ArrayPool<byte>.Shared.Rent(capacity);
    private long _previousLap;
    private long _lap;
    private long _acknowledged;
    private long _sent;
    private long _end;

    /// <summary>How many bytes wait to be sent.</summary>
    public long Waiting
    {
        get
        {
            lock (_gate)
                return _end - _sent;
        }
    }

    /// <summary>Room for a frame after all others, good until the next call; false if what is not acknowledged leaves none.</summary>
    public bool TryReserve(int bytes, out Memory<byte> room)
    {
        lock (_gate)
        {
            if (_acknowledged == _end)
                _previousLap = _lap = _end;
            var at = (int)(_end - _lap);
            var oldest = _acknowledged - (_acknowledged < _lap ? _previousLap : _lap);
            var fits = _acknowledged < _lap ? oldest - at >= bytes : capacity - at >= bytes;
            if (!fits && _acknowledged >= _lap && oldest >= bytes)
            {
                (_previousLap, _lap, at) = (_lap, _end, 0);
                fits = true;
            }

            room = fits ? _buffer.AsMemory(at, bytes) : default;
            return fits;
        }
    }

    /// <summary>The next frame is composed, in the first <paramref name="bytes"/> of the room that was reserved for it.</summary>
    public void Append(int bytes)
    {
        lock (_gate)
            _end += bytes;
    }

    /// <summary>What to send next, as far as it lies in one piece; empty if everything is sent.</summary>
    public ReadOnlyMemory<byte> Next()
    {
        lock (_gate)
        {
            return _sent < _lap
                ? _buffer.AsMemory((int)(_sent - _previousLap), (int)(_lap - _sent))
                : _buffer.AsMemory((int)(_sent - _lap), (int)(_end - _sent));
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
            return true;
        }
    }

    /// <summary>The target has everything before <paramref name="position"/> and wants the rest anew; false if it cannot.</summary>
    public bool Rewind(long position)
    {
        lock (_gate)
        {
            if (position < _acknowledged || position > _sent)
                return false;
            _acknowledged = _sent = position;
            return true;
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _buffer, null) is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
    }
}
