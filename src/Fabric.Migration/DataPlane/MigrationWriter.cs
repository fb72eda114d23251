using System.Buffers.Binary;
using System.Net;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The source's end of one stream. One call at a time. Every call ends: with its result, with a <see cref="DataPlaneException"/> that says
/// why the stream is over, or cancelled by its caller, which ends the stream too if bytes were under way. The payload counts as sent when
/// the call returns, but small frames wait for company until the next flush, round end or finish.
/// </summary>
public sealed class MigrationWriter : IAsyncDisposable
{
    // Large writes are cut to what a core's own cache holds, so that the kernel copies bytes that hashing has just brought in.
    private const int SliceBytes = 256 * 1024;
    private const int GatherBytes = 64 * 1024;
    private const int HashBytes = 16;
    private const int MaxReply = HashBytes + PeerText.MaxBytes;

    private readonly Wire _wire;
    private readonly DataPlaneOptions _options;
    private readonly FrameSink _sink;
    private readonly FrameSource _replies;
    private readonly StreamHash _hash = new();
    private readonly TokenBucket _bucket;
    private Expectation? _expected;
    private Task _repliesRead = Task.CompletedTask;
    private long _bytesSent;
    private bool _ended;

    private MigrationWriter(Wire wire, DataPlaneOptions options)
    {
        _wire = wire;
        _options = options;
        _sink = new FrameSink(wire, GatherBytes);
        _replies = new FrameSource(wire, MaxReply, hash: null);
        _bucket = new TokenBucket(options.Limit, options.Time);
    }

    /// <summary>Payload bytes accepted for sending so far. May be read from anywhere while a call is under way.</summary>
    public long BytesSent => Volatile.Read(ref _bytesSent);

    /// <summary>Hash over every state frame so far, in order: type, length, offset and payload. Read it between calls.</summary>
    public UInt128 Hash => _hash.Current;

    /// <summary>How fast payload may leave. Takes effect at once, also for a call that is waiting for its turn.</summary>
    public BandwidthLimit Limit
    {
        get => _bucket.Limit;
        set => _bucket.Limit = value;
    }

    /// <summary>Completes with a sentence as soon as the connection is gone, also while no call is under way; never faults.</summary>
    public Task<string> Lost => _wire.Lost;

    /// <summary>Connects and presents id and token; completes when the target has accepted them.</summary>
    /// <exception cref="DataPlaneException">Not reachable, not answering, or refused, with the target's sentence.</exception>
    /// <exception cref="ArgumentException">The id is empty or longer than 256 bytes of UTF-8.</exception>
    public static async Task<MigrationWriter> ConnectAsync(
        EndPoint endPoint,
        string migrationId,
        DataPlaneToken token,
        DataPlaneOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        options ??= new DataPlaneOptions();
        var hello = Hello.Compose(migrationId, token);
        var stream = await Transport.ConnectAsync(endPoint, options, cancellationToken);
        var writer = new MigrationWriter(new Wire(stream, options), options);
        try
        {
            await writer.GreetAsync(hello, cancellationToken);
            return writer;
        }
        catch
        {
            await writer.DisposeAsync();
            throw;
        }
    }

    /// <summary>The next bytes of the device's stream, in order (MG-24). Any length.</summary>
    public ValueTask WriteDeviceStateAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken = default) =>
        WriteStateAsync(FrameType.DeviceState, 0, data, cancellationToken);

    /// <summary>A run of the consumer's memory, <paramref name="offset"/> bytes from its beginning. Any length.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The run passes the end of 64-bit offsets.</exception>
    public ValueTask WriteMemoryAsync(ulong offset, ReadOnlyMemory<byte> data, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, ulong.MaxValue - (ulong)data.Length, nameof(offset));
        return WriteStateAsync(FrameType.Memory, offset, data, cancellationToken);
    }

    /// <summary>The consumer's own state, which arrives whole.</summary>
    /// <exception cref="ArgumentException">Longer than 1 MiB.</exception>
    public ValueTask WriteConsumerStateAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken = default)
    {
        if (data.Length > FrameHeader.MaxPayload)
            throw new ArgumentException($"Consumer state is at most {FrameHeader.MaxPayload} bytes, not {data.Length}.", nameof(data));
        return WriteStateAsync(FrameType.ConsumerState, 0, data, cancellationToken);
    }

    /// <summary>Sends what is still gathered, without waiting for the target to consume it.</summary>
    public async ValueTask FlushAsync(CancellationToken cancellationToken = default)
    {
        using var call = _wire.Begin();
        await _sink.FlushAsync(cancellationToken);
    }

    /// <summary>
    /// Tells the target that the source is alive but has nothing to send: due well within the target's
    /// <see cref="DataPlaneOptions.IoTimeout"/> whenever the device takes long. The writer does it itself while it waits for its bandwidth.
    /// </summary>
    public async ValueTask KeepAliveAsync(CancellationToken cancellationToken = default)
    {
        using var call = BeginBeforeEnd();
        await SendKeepAliveAsync(cancellationToken);
    }

    /// <summary>Ends a round; completes when the target has consumed everything of it, so its duration is end to end.</summary>
    public async ValueTask EndRoundAsync(int round, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(round);
        using var call = BeginBeforeEnd();
        var acknowledged = Expect(FrameType.RoundAcknowledged, (ulong)round);
        var check = _hash.Append(FrameType.RoundEnd, (ulong)round, []);
        await _sink.AppendAsync(new FrameHeader(FrameType.RoundEnd, 0, (ulong)round, check), default, cancellationToken);
        await _sink.FlushAsync(cancellationToken);
        await ReplyAsync(acknowledged, cancellationToken);
    }

    /// <summary>
    /// Ends the stream; completes when the target has said that it has everything and that its count and hash are these. Nothing can be
    /// written afterwards.
    /// </summary>
    /// <exception cref="DataPlaneException">The stream broke, the target refused, or the counts or hashes differ.</exception>
    public async ValueTask<TransferReport> FinishAsync(CancellationToken cancellationToken = default)
    {
        using var call = BeginBeforeEnd();
        _ended = true;
        var bytes = BytesSent;
        var hash = _hash.Current;
        var payload = new byte[HashBytes];
        BinaryPrimitives.WriteUInt128LittleEndian(payload, hash);
        var finished = Expect(FrameType.Finished, null);
        await _sink.SendAsync(FrameType.End, (ulong)bytes, payload, cancellationToken);
        var report = await ReplyAsync(finished, cancellationToken);
        if (report.Bytes != bytes || report.Hash != hash)
        {
            throw _wire.Break(
                $"The target has {report.Bytes} bytes with hash {report.Hash:x32}, but {bytes} bytes with hash {hash:x32} were sent.");
        }

        return report;
    }

    /// <summary>
    /// Gives up and closes. Unlike the others this may come while a call is under way; that call then fails, and the target sees the stream
    /// torn instead of aborted. Otherwise it completes when the target has read the reason, or has shown no sign of life for its time.
    /// </summary>
    /// <returns>Whether the target has read the reason.</returns>
    public async ValueTask<bool> AbortAsync(string reason, CancellationToken cancellationToken = default)
    {
        try
        {
            return await TellAbortAsync(reason, cancellationToken);
        }
        finally
        {
            _wire.Break($"This side aborted: {reason}");
            await DisposeAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        // A buffer that an interrupted call may still be using is left to the collector instead of the pool.
        var interrupted = _wire.IsBusy;
        await _wire.DisposeAsync();
        await _repliesRead;
        _replies.Dispose();
        if (!interrupted)
            _sink.Dispose();
    }

    private async ValueTask<bool> TellAbortAsync(string reason, CancellationToken cancellationToken)
    {
        if (_wire.IsBroken || !_wire.TryBegin(out var call))
            return false;
        using (call)
        {
            try
            {
                // Closing before the target has noted it could discard what the kernel has not sent yet, and the reason with it.
                var told = Expect(FrameType.AbortNoted, 0);
                await _sink.SendAsync(FrameType.Abort, 0, PeerText.Encode(reason), cancellationToken);
                await ReplyAsync(told, cancellationToken);
                return true;
            }
            catch (DataPlaneException)
            {
                // The stream broke by itself in the meantime, which the answer tells.
                return false;
            }
        }
    }

    private async Task GreetAsync(byte[] hello, CancellationToken cancellationToken)
    {
        using var call = _wire.Begin();
        await _wire.WriteAsync(hello, cancellationToken);
        var answer = await _replies.NextAsync(cancellationToken);
        if (answer.Type == FrameType.Refused)
            throw Refusal(answer);
        if (answer.Type != FrameType.Accepted)
            throw _wire.Break($"The target answered the hello with a frame of type {(byte)answer.Type}.");
        _repliesRead = ReadRepliesAsync();
        _wire.LastWords = _repliesRead;
    }

    private Wire.Call BeginBeforeEnd()
    {
        var call = _wire.Begin();
        if (!_ended)
            return call;
        call.Dispose();
        throw new InvalidOperationException("The stream is finished; nothing more can be written.");
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteStateAsync(
        FrameType type, ulong offset, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        using var call = BeginBeforeEnd();
        var whole = type == FrameType.ConsumerState;
        do
        {
            var slice = whole ? data : data[..Math.Min(data.Length, SliceBytes)];
            await TakeTurnAsync(slice.Length, cancellationToken);
            var check = _hash.Append(type, offset, slice.Span);
            await _sink.AppendAsync(new FrameHeader(type, slice.Length, offset, check), slice, cancellationToken);
            Volatile.Write(ref _bytesSent, _bytesSent + slice.Length);
            data = data[slice.Length..];
            if (type == FrameType.Memory)
                offset += (ulong)slice.Length;
        }
        while (!data.IsEmpty);
    }

    private ValueTask TakeTurnAsync(int bytes, CancellationToken cancellationToken)
    {
        var wait = _bucket.Take(bytes, out var changed);
        return wait == TimeSpan.Zero ? ValueTask.CompletedTask : WaitForTurnAsync(bytes, wait, changed, cancellationToken);
    }

    private async ValueTask WaitForTurnAsync(int bytes, TimeSpan wait, Task changed, CancellationToken cancellationToken)
    {
        // What was paid for goes before the wait, not after.
        await _sink.FlushAsync(cancellationToken);
        var alive = _options.IoTimeout / 4;
        do
        {
            _wire.Pause();
            using var woken = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var delay = Task.Delay(wait < alive ? wait : alive, _options.Time, woken.Token);
            await Task.WhenAny(delay, changed, _wire.Lost);
            var silent = delay.IsCompleted;
            await woken.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            _wire.Resume();
            _wire.ThrowIfBroken();
            if (silent && wait > alive)
                await SendKeepAliveAsync(cancellationToken);
            wait = _bucket.Take(bytes, out changed);
        }
        while (wait > TimeSpan.Zero);
    }

    private ValueTask SendKeepAliveAsync(CancellationToken cancellationToken) =>
        _sink.SendAsync(FrameType.KeepAlive, 0, default, cancellationToken);

    private Task<TransferReport> Expect(FrameType type, ulong? value)
    {
        var expected = new Expectation(type, value);
        Volatile.Write(ref _expected, expected);
        return expected.Reply.Task;
    }

    private async ValueTask<TransferReport> ReplyAsync(Task<TransferReport> reply, CancellationToken cancellationToken)
    {
        try
        {
            await Task.WhenAny(reply, _wire.Lost).WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // A reply that comes after its caller has gone would be taken for the next one's.
            _wire.Break("This side stopped waiting for the target.");
            throw;
        }

        // The last reply may be followed by the end of the connection at once; it counts all the same.
        if (!reply.IsCompletedSuccessfully)
            _wire.ThrowIfBroken();
        return await reply;
    }

    /// <summary>Runs as long as the connection: a peer that dies or refuses is noticed at once, not at the next write.</summary>
    private async Task ReadRepliesAsync()
    {
        try
        {
            while (true)
                Take(await _replies.NextAsync(CancellationToken.None));
        }
        catch (DataPlaneException e)
        {
            _wire.Break(e.Message, e.InnerException);
        }
    }

    private void Take(Frame reply)
    {
        switch (reply.Type)
        {
            case FrameType.KeepAlive:
                return;
            case FrameType.Refused:
                throw Refusal(reply);
            case FrameType.RoundAcknowledged or FrameType.Finished or FrameType.AbortNoted:
                var expected = Interlocked.Exchange(ref _expected, null);
                if (expected is null || expected.Type != reply.Type || (expected.Value ?? reply.Value) != reply.Value)
                    throw new DataPlaneException($"The target sent a reply nobody asked for: type {(byte)reply.Type}, {reply.Value}.");
                expected.Reply.SetResult(Report(reply));
                return;
            default:
                throw new DataPlaneException($"The target sent a frame of type {(byte)reply.Type}, which is not a reply.");
        }
    }

    private static TransferReport Report(Frame reply)
    {
        if (reply.Type != FrameType.Finished)
            return new TransferReport(0, 0, "");
        var payload = reply.Payload.Span;
        if (payload.Length < HashBytes || reply.Value > long.MaxValue)
            throw new DataPlaneException("The target's last reply is malformed.");
        return new TransferReport(
            (long)reply.Value, BinaryPrimitives.ReadUInt128LittleEndian(payload), PeerText.Decode(payload[HashBytes..]));
    }

    private DataPlaneException Refusal(Frame refused) => _wire.Break($"The target refused: {PeerText.Decode(refused.Payload.Span)}");

    private sealed record Expectation(FrameType Type, ulong? Value)
    {
        public TaskCompletionSource<TransferReport> Reply { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
