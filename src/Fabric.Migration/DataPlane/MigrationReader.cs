using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The target's end of one stream. One call at a time. Every call ends: with its result, with a <see cref="DataPlaneException"/> that says
/// why the stream is over, or cancelled by its caller, which ends the stream too.
/// </summary>
public sealed class MigrationReader : IAsyncDisposable
{
    private const int HashBytes = 16;

    private readonly Wire _wire;
    private readonly FrameSource _frames;
    private readonly FrameSink _replies;
    private readonly StreamHash _hash = new();
    private readonly MigrationFrame.DeviceState _deviceState = new(default(ReadOnlyMemory<byte>));
    private readonly MigrationFrame.Memory _memory = new(0, default);
    private readonly MigrationFrame.ConsumerState _consumerState = new(default(ReadOnlyMemory<byte>));
    private Phase _phase = Phase.Streaming;
    private int? _roundToAcknowledge;
    private long _bytesReceived;

    internal MigrationReader(Wire wire, string migrationId)
    {
        _wire = wire;
        MigrationId = migrationId;
        _frames = new FrameSource(wire, FrameHeader.MaxPayload, _hash);
        _replies = new FrameSink(wire, FrameHeader.Size + HashBytes + PeerText.MaxBytes);
    }

    private enum Phase
    {
        Streaming,
        Complete,
        Answered,
        Aborted,
    }

    public string MigrationId { get; }

    /// <summary>Payload bytes received in whole, checked frames. May be read from anywhere while a call is under way.</summary>
    public long BytesReceived => Volatile.Read(ref _bytesReceived);

    /// <summary>Hash over every state frame so far, in order: type, length, offset and payload. Read it between calls.</summary>
    public UInt128 Hash => _hash.Current;

    /// <summary>The next frame. It and its data are valid until the next call or until the reader is disposed.</summary>
    /// <exception cref="DataPlaneException">
    /// The stream broke before its end, a frame is malformed or damaged, or count and hash at the end differ. If the source can still be
    /// told, it was.
    /// </exception>
    /// <exception cref="InvalidOperationException">The stream has already ended, or another call is under way.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<MigrationFrame> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (_phase != Phase.Streaming)
            throw new InvalidOperationException("The stream has ended; nothing more can be read.");
        using var call = _wire.Begin();
        try
        {
            while (true)
            {
                var frame = await _frames.NextAsync(cancellationToken);
                if (frame.Type == FrameType.KeepAlive)
                    continue;
                var understood = Understand(frame);
                if (_phase == Phase.Aborted)
                    await NoteAbortAsync(cancellationToken);
                return understood;
            }
        }
        catch (DataPlaneException e)
        {
            throw await EndEarlyAsync(e, cancellationToken);
        }
    }

    /// <summary>Tells the source that everything of <paramref name="round"/> is consumed.</summary>
    /// <exception cref="InvalidOperationException">This round was not the last one read, or is already acknowledged.</exception>
    public async ValueTask AcknowledgeRoundAsync(int round, CancellationToken cancellationToken = default)
    {
        using var call = _wire.Begin();
        if (_roundToAcknowledge != round)
            throw new InvalidOperationException($"Round {round} is not waiting to be acknowledged.");
        _roundToAcknowledge = null;
        await _replies.SendAsync(FrameType.RoundAcknowledged, (ulong)round, default, cancellationToken);
    }

    /// <summary>
    /// Tells the source that the target is alive but still busy with what it read: due well within the source's
    /// <see cref="DataPlaneOptions.IoTimeout"/> whenever the device takes long.
    /// </summary>
    public async ValueTask KeepAliveAsync(CancellationToken cancellationToken = default)
    {
        using var call = _wire.Begin();
        await _replies.SendAsync(FrameType.KeepAlive, 0, default, cancellationToken);
    }

    /// <summary>
    /// The last word. With <paramref name="ok"/> the target has everything and says so with its own count and hash, which needs the end to
    /// have been read; without it, at any time, it has not, and the source's call fails with <paramref name="sentence"/>.
    /// </summary>
    /// <exception cref="InvalidOperationException">It was said already, the source aborted, or the end was not yet read.</exception>
    public async ValueTask ReplyFinishedAsync(bool ok, string sentence, CancellationToken cancellationToken = default)
    {
        using var call = _wire.Begin();
        if (_phase is Phase.Answered or Phase.Aborted || (ok && _phase != Phase.Complete))
            throw new InvalidOperationException("There is no end of a stream to reply to.");
        _phase = Phase.Answered;
        if (!ok)
        {
            await _replies.SendAsync(FrameType.Refused, 0, PeerText.Encode(sentence), cancellationToken);
            return;
        }

        var payload = new byte[HashBytes + PeerText.MaxBytes];
        BinaryPrimitives.WriteUInt128LittleEndian(payload, _hash.Current);
        var length = HashBytes + PeerText.Encode(sentence, payload.AsSpan(HashBytes));
        await _replies.SendAsync(FrameType.Finished, (ulong)_bytesReceived, payload.AsMemory(0, length), cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        // A buffer that an interrupted call may still be using is left to the collector instead of the pool.
        var interrupted = _wire.IsBusy;
        await _wire.DisposeAsync();
        if (interrupted)
            return;
        _frames.Dispose();
        _replies.Dispose();
    }

    /// <summary>Tells the source that id and token were right.</summary>
    internal async ValueTask WelcomeAsync(CancellationToken cancellationToken)
    {
        using var call = _wire.Begin();
        await _replies.SendAsync(FrameType.Accepted, 0, default, cancellationToken);
    }

    private async ValueTask NoteAbortAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _replies.SendAsync(FrameType.AbortNoted, 0, default, cancellationToken);
        }
        catch (DataPlaneException)
        {
            // The source did not stay for it. The abort is read, and that is what the caller has to know.
        }
    }

    private MigrationFrame Understand(Frame frame)
    {
        switch (frame.Type)
        {
            case FrameType.DeviceState:
                Require(frame.Value == 0, frame);
                Count(frame);
                _deviceState.Data = frame.Payload;
                return _deviceState;
            case FrameType.Memory:
                Require(frame.Value <= ulong.MaxValue - (ulong)frame.Payload.Length, frame);
                Count(frame);
                _memory.Offset = frame.Value;
                _memory.Data = frame.Payload;
                return _memory;
            case FrameType.ConsumerState:
                Require(frame.Value == 0, frame);
                Count(frame);
                _consumerState.Data = frame.Payload;
                return _consumerState;
            case FrameType.RoundEnd:
                Require(frame.Value <= int.MaxValue && frame.Payload.IsEmpty, frame);
                _roundToAcknowledge = (int)frame.Value;
                return new MigrationFrame.RoundEnd((int)frame.Value);
            case FrameType.End:
                Require(frame.Payload.Length == HashBytes && frame.Value <= long.MaxValue, frame);
                return Complete((long)frame.Value, BinaryPrimitives.ReadUInt128LittleEndian(frame.Payload.Span));
            case FrameType.Abort:
                _phase = Phase.Aborted;
                return new MigrationFrame.Aborted(PeerText.Decode(frame.Payload.Span));
            default:
                throw new DataPlaneException($"The source sent a frame of type {(byte)frame.Type}, which is not a source's.");
        }
    }

    private static void Require(bool wellFormed, Frame frame)
    {
        if (!wellFormed)
            throw new DataPlaneException($"The source sent a malformed {frame.Type} frame.");
    }

    private void Count(Frame frame) => Volatile.Write(ref _bytesReceived, _bytesReceived + frame.Payload.Length);

    private MigrationFrame.End Complete(long bytes, UInt128 hash)
    {
        if (bytes != _bytesReceived || hash != _hash.Current)
        {
            throw new DataPlaneException(
                $"The source sent {bytes} bytes with hash {hash:x32}, but {_bytesReceived} bytes with hash {_hash.Current:x32} arrived.");
        }

        _phase = Phase.Complete;
        return new MigrationFrame.End(bytes, hash);
    }

    /// <summary>Ends a stream that cannot be completed, and gives the source the reason if it can still be reached.</summary>
    private async ValueTask<DataPlaneException> EndEarlyAsync(DataPlaneException why, CancellationToken cancellationToken)
    {
        var sentence = $"{why.Message} The stream had not ended; {_bytesReceived} bytes of payload had arrived.";
        if (!_wire.IsBroken)
        {
            try
            {
                await _replies.SendAsync(FrameType.Refused, 0, PeerText.Encode(why.Message), cancellationToken);
            }
            catch (DataPlaneException e)
            {
                sentence = $"{sentence} The source could not be told: {e.Message}";
            }
        }

        _wire.Break(sentence, why);
        return new DataPlaneException(sentence, why);
    }
}
