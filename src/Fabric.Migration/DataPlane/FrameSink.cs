using System.Buffers;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// Writes frames through one pooled buffer: small ones leave together, of a large one only the beginning is copied and the rest goes from
/// the caller's memory to the socket. Not safe for two callers.
/// </summary>
internal sealed class FrameSink(Wire wire, int capacity) : IDisposable
{
    private byte[]? _buffer = ArrayPool<byte>.Shared.Rent(capacity);
    private int _filled;

    /// <summary>Returns when the payload's memory is the caller's again; the bytes may still wait in the buffer.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask AppendAsync(FrameHeader header, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        if (capacity - _filled < FrameHeader.Size)
            await FlushAsync(cancellationToken);
        header.Write(_buffer.AsSpan(_filled));
        _filled += FrameHeader.Size;

        while (!payload.IsEmpty)
        {
            if (_filled == 0 && payload.Length >= capacity)
            {
                await wire.WriteAsync(payload, cancellationToken);
                return;
            }

            var copied = Math.Min(payload.Length, capacity - _filled);
            payload.Span[..copied].CopyTo(_buffer.AsSpan(_filled));
            _filled += copied;
            payload = payload[copied..];
            if (_filled == capacity)
                await FlushAsync(cancellationToken);
        }
    }

    /// <summary>A frame that is not part of the transferred state, sent at once.</summary>
    public async ValueTask SendAsync(FrameType type, ulong value, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        var header = new FrameHeader(type, payload.Length, value, StreamHash.Check(type, value, payload.Span));
        await AppendAsync(header, payload, cancellationToken);
        await FlushAsync(cancellationToken);
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        if (_filled == 0)
            return ValueTask.CompletedTask;
        var bytes = _buffer.AsMemory(0, _filled);
        _filled = 0;
        return wire.WriteAsync(bytes, cancellationToken);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _buffer, null) is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
    }
}
