using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The target's end of one stream. One call at a time. Every call ends: with its result, with a <see cref="DataPlaneException"/> that says
/// why the stream is over, or cancelled by its caller, which ends the stream too. A connection that breaks may be replaced by its source: a
/// read waits for that, and goes on at the first frame that has not come. What was said to the source and may not have arrived is said again.
/// </summary>
public sealed class MigrationReader : IAsyncDisposable
{
    private const int HashBytes = 16;
    private const int MaxReply = HashBytes + PeerText.MaxBytes;

    /// <summary>How much is read before it is acknowledged: a source has little more under way (<see cref="FlightLimit"/>).</summary>
    private const int AcknowledgeBytes = 2 * MigrationWriter.SliceBytes;

    private readonly DataPlaneOptions _options;
    private readonly FrameSource _frames;
    private readonly StreamHash _hash = new();
    private readonly MigrationFrame.DeviceState _deviceState = new(default(ReadOnlyMemory<byte>));
    private readonly MigrationFrame.Memory _memory = new(0, default);
    private readonly MigrationFrame.ConsumerState _consumerState = new(default(ReadOnlyMemory<byte>));

    // Who has it uses the connection: a call, or a new connection that takes its place.
    private readonly SemaphoreSlim _turn = new(1, 1);
    private Wire _wire;
    private FrameSink _replies;
    private TaskCompletionSource _replaced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Phase _phase = Phase.Streaming;
    private int? _roundToAcknowledge;
    private long _bytesReceived;
    private long _position;
    private long _acknowledged;
    private uint _repliesSent;
    private Reply? _lastReply;
    private string? _refusal;
    private string? _over;
    private int _disposed;

    internal MigrationReader(Stream connection, string migrationId, DataPlaneOptions options)
    {
        _options = options;
        MigrationId = migrationId;
        Watch = new PeerWatch(options, BlamePeer);
        _wire = new Wire(connection, Watch);
        _frames = new FrameSource(_wire, FrameHeader.MaxPayload, _hash);
        _replies = new FrameSink(_wire, FrameHeader.Size + MaxReply);
    }

    private enum Phase
    {
        Streaming,
        Complete,
        Answered,
        Aborted,
    }

    public string MigrationId { get; }

    internal PeerWatch Watch { get; }

    /// <summary>The last word was said, and a source that has not heard it may come for it.</summary>
    internal bool HasLastWord => _phase == Phase.Answered || _refusal is not null;

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
        using var call = Watch.Begin();
        if (_over is { } sentence)
            throw new DataPlaneException(sentence);
        try
        {
            while (true)
            {
                DataPlaneException lost;
                await _turn.WaitAsync(cancellationToken);
                var replaced = _replaced.Task;
                try
                {
                    return await NextAsync(cancellationToken);
                }
                catch (DataPlaneException e) when (e.IsLoss)
                {
                    lost = e;
                }
                finally
                {
                    _turn.Release();
                }

                await WaitForReplacementAsync(replaced, lost, cancellationToken);
            }
        }
        catch (DataPlaneException e)
        {
            throw await EndEarlyAsync(e, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            _refusal ??= "The target has stopped reading.";
            throw;
        }
    }

    /// <summary>Tells the source that everything of <paramref name="round"/> is consumed.</summary>
    /// <exception cref="InvalidOperationException">This round was not the last one read, or is already acknowledged.</exception>
    public async ValueTask AcknowledgeRoundAsync(int round, CancellationToken cancellationToken = default)
    {
        using var call = Watch.Begin();
        if (_roundToAcknowledge != round)
            throw new InvalidOperationException($"Round {round} is not waiting to be acknowledged.");
        _roundToAcknowledge = null;
        await ReplyAsync(new Reply(FrameType.RoundAcknowledged, (ulong)round, default), cancellationToken);
    }

    /// <summary>
    /// Tells the source that the target is alive but still busy with what it read: due well within the source's
    /// <see cref="DataPlaneOptions.IoTimeout"/> whenever the device takes long.
    /// </summary>
    public async ValueTask KeepAliveAsync(CancellationToken cancellationToken = default)
    {
        using var call = Watch.Begin();
        await TryUseAsync(static (reader, ct) => reader._replies.SendAsync(FrameType.KeepAlive, 0, default, ct), cancellationToken);
    }

    /// <summary>
    /// The last word. With <paramref name="ok"/> the target has everything and says so with its own count and hash, which needs the end to
    /// have been read; without it, at any time, it has not, and the source's call fails with <paramref name="sentence"/>.
    /// </summary>
    /// <exception cref="InvalidOperationException">It was said already, the source aborted, or the end was not yet read.</exception>
    public async ValueTask ReplyFinishedAsync(bool ok, string sentence, CancellationToken cancellationToken = default)
    {
        using var call = Watch.Begin();
        if (_phase is Phase.Answered or Phase.Aborted || (ok && _phase != Phase.Complete))
            throw new InvalidOperationException("There is no end of a stream to reply to.");
        _phase = Phase.Answered;
        if (!ok)
        {
            _refusal ??= sentence;
            await TryUseAsync((reader, ct) => reader._replies.SendAsync(FrameType.Refused, 0, PeerText.Encode(sentence), ct), cancellationToken);
            return;
        }

        var payload = new byte[MaxReply];
        BinaryPrimitives.WriteUInt128LittleEndian(payload, _hash.Current);
        var length = HashBytes + PeerText.Encode(sentence, payload.AsSpan(HashBytes));
        await ReplyAsync(new Reply(FrameType.Finished, (ulong)_bytesReceived, payload.AsMemory(0, length)), cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;

        // A buffer that an interrupted call may still be using is left to the collector instead of the pool.
        var interrupted = Watch.IsBusy;
        if (!HasLastWord)
            _refusal = "The target has closed the stream.";
        _wire.Break("This side closed the connection.");
        await _turn.WaitAsync();
        _wire.Break("This side closed the connection.");
        _replaced.TrySetResult();
        _turn.Release();
        await Watch.DisposeAsync();
        _replies.Dispose();
        if (!interrupted)
            _frames.Dispose();
    }

    /// <summary>Tells the source that id and token were right.</summary>
    internal async ValueTask WelcomeAsync(CancellationToken cancellationToken) =>
        await _replies.SendAsync(FrameType.Accepted, 0, Acceptance.Compose(AcknowledgeBytes), cancellationToken);

    /// <summary>
    /// Puts a new connection of the same source in the place of the one that it has, which is closed. The source learns what has come, and
    /// hears again what it has not heard.
    /// </summary>
    /// <param name="connection">Passes to the reader, unless it is refused.</param>
    /// <param name="repliesHeard">How many replies the source has had.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>Null, or the sentence to refuse it with.</returns>
    internal async ValueTask<string?> ReplaceAsync(Stream connection, uint repliesHeard, CancellationToken cancellationToken)
    {
        // Whoever reads from the old one makes way.
        _wire.Lose("The source came back by another connection.");
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (_refusal is { } refusal)
                return refusal;
            var missed = _repliesSent - repliesHeard;
            if (missed > 1)
                return $"The target has given {_repliesSent} replies, and the source has had {repliesHeard}.";
            await AdoptAsync(new Wire(connection, Watch), missed == 1 ? _lastReply : null, cancellationToken);
            return null;
        }
        finally
        {
            _turn.Release();
        }
    }

    private async ValueTask AdoptAsync(Wire wire, Reply? missed, CancellationToken cancellationToken)
    {
        var replies = new FrameSink(wire, FrameHeader.Size + MaxReply);
        try
        {
            await replies.SendAsync(FrameType.Accepted, (ulong)_position, Acceptance.Compose(AcknowledgeBytes), cancellationToken);
            if (missed is not null)
                await replies.SendAsync(missed.Type, missed.Value, missed.Payload, cancellationToken);
        }
        catch (Exception e) when (e is DataPlaneException or OperationCanceledException)
        {
            // The source will find out and come again.
            replies.Dispose();
            await wire.DisposeAsync();
            return;
        }

        _replies.Dispose();
        (_wire, _replies, _acknowledged) = (wire, replies, _position);
        _frames.Restart(wire);
        var replaced = _replaced;
        _replaced = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        replaced.SetResult();
        if (Volatile.Read(ref _disposed) == 0)
            return;
        wire.Break("This side closed the connection.");
        replies.Dispose();
    }

    private async ValueTask WaitForReplacementAsync(Task replaced, DataPlaneException lost, CancellationToken cancellationToken)
    {
        Watch.Pause();
        try
        {
            await replaced.WaitAsync(_options.ResumeTimeout, _options.Time, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw _options.ResumeTimeout == TimeSpan.Zero
                ? new DataPlaneException(lost.Message, lost.InnerException)
                : new DataPlaneException(
                    FormattableString.Invariant(
                        $"{lost.Message} The source did not come back within {_options.ResumeTimeout.TotalSeconds:0.###} seconds."),
                    lost.InnerException);
        }

        Watch.Resume();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<MigrationFrame> NextAsync(CancellationToken cancellationToken)
    {
        if (_position - _acknowledged >= AcknowledgeBytes)
            await AcknowledgeAsync(cancellationToken);
        Frame frame;
        do
            frame = await _frames.NextAsync(cancellationToken);
        while (frame.Type == FrameType.KeepAlive);

        _wire.GotSomewhere = true;
        if (frame.Type != FrameType.Abort)
            _position += FrameHeader.Size + frame.Payload.Length;
        var understood = Understand(frame);
        if (_phase == Phase.Aborted)
            await NoteAbortAsync(cancellationToken);
        return understood;
    }

    private ValueTask AcknowledgeAsync(CancellationToken cancellationToken)
    {
        _acknowledged = _position;
        return _replies.SendAsync(FrameType.Consumed, (ulong)_position, default, cancellationToken);
    }

    /// <summary>Says what the source waits for. If it cannot be told now, it is when it comes back.</summary>
    private ValueTask ReplyAsync(Reply reply, CancellationToken cancellationToken)
    {
        _lastReply = reply;
        _repliesSent++;
        return TryUseAsync(
            async (reader, ct) =>
            {
                await reader.AcknowledgeAsync(ct);
                await reader._replies.SendAsync(reply.Type, reply.Value, reply.Payload, ct);
            },
            cancellationToken);
    }

    private async ValueTask TryUseAsync(Func<MigrationReader, CancellationToken, ValueTask> use, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            await use(this, cancellationToken);
        }
        catch (DataPlaneException e) when (e.IsLoss)
        {
            // The next read waits for another connection.
        }
        finally
        {
            _turn.Release();
        }
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
        await _turn.WaitAsync(cancellationToken);
        try
        {
            _refusal ??= why.Message;
            if (!_wire.IsBroken)
                await _replies.SendAsync(FrameType.Refused, 0, PeerText.Encode(why.Message), cancellationToken);
        }
        catch (DataPlaneException e)
        {
            sentence = $"{sentence} The source could not be told: {e.Message}";
        }
        finally
        {
            _turn.Release();
        }

        _over = sentence;
        _wire.Break(sentence, why);
        return new DataPlaneException(sentence, why);
    }

    private void BlamePeer(string sentence)
    {
        if (_wire.GotSomewhere)
            _wire.Lose(sentence);
        else
            _wire.Break(sentence);
    }

    private sealed record Reply(FrameType Type, ulong Value, ReadOnlyMemory<byte> Payload);
}
