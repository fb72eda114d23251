using System.Buffers;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// Cuts a connection into checked frames, in one pooled buffer. Small frames are read many at a time and handed out where they lie; of a
/// large one the rest is read exactly, so that its payload is never moved.
/// </summary>
internal sealed class FrameSource : IDisposable
{
    private const int ReadAheadBytes = 64 * 1024;

    private Wire _wire;
    private readonly StreamHash? _hash;
    private readonly int _maxPayload;
    private readonly int _capacity;
    private readonly int _readAhead;
    private byte[]? _buffer;
    private int _start;
    private int _end;
    private int _lastLength;

    /// <param name="wire">What to read from.</param>
    /// <param name="maxPayload">The longest payload to take, in bytes.</param>
    /// <param name="hash">Takes in what is state, as it comes; none where only replies come.</param>
    public FrameSource(Wire wire, int maxPayload, StreamHash? hash)
    {
        _wire = wire;
        _hash = hash;
        _maxPayload = maxPayload;
        _readAhead = Math.Min(ReadAheadBytes, FrameHeader.Size + maxPayload);
        _capacity = FrameHeader.Size + maxPayload + _readAhead;
        _buffer = ArrayPool<byte>.Shared.Rent(_capacity);
    }

    /// <summary>The next frame, its check verified.</summary>
    /// <exception cref="DataPlaneException">The connection ended, or what came is malformed.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Frame> NextAsync(CancellationToken cancellationToken)
    {
        await FillAsync(FrameHeader.Size, cancellationToken);
        var header = FrameHeader.Read(_buffer.AsSpan(_start, FrameHeader.Size), _maxPayload);
        await FillAsync(FrameHeader.Size + header.Length, cancellationToken);
        var payload = _buffer.AsMemory(_start + FrameHeader.Size, header.Length);
        _lastLength = FrameHeader.Size + header.Length;
        _start += _lastLength;

        var check = _hash is not null && header.Type.IsState()
            ? _hash.Append(header.Type, header.Value, payload.Span)
            : StreamHash.Check(header.Type, header.Value, payload.Span);
        if (check != header.Check)
            throw new DataPlaneException($"A frame of {header.Length} bytes arrived damaged.");
        return new Frame(header.Type, header.Value, payload);
    }

    /// <summary>Goes on with another connection, which begins with a whole frame; what was handed out last stays valid.</summary>
    public void Restart(Wire wire)
    {
        _wire = wire;
        _start = _end = 0;
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _buffer, null) is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask FillAsync(int wanted, CancellationToken cancellationToken)
    {
        if (_end == _start)
            _start = _end = 0;
        if (_start + wanted > _capacity)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
        }

        while (_end - _start < wanted)
        {
            // What follows is likely to be as long as the last. Nothing is read past the end of a large frame, whose successor would lie further on
            // in the buffer, in memory that no cache has.
            var missing = wanted - (_end - _start);
            var room = wanted > _readAhead ? missing : Math.Min(Math.Max(_readAhead, _lastLength), _capacity - _end);
            _end += await _wire.ReadAsync(_buffer.AsMemory(_end, room), cancellationToken);
        }
    }
}
