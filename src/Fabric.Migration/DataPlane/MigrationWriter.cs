using System.Buffers.Binary;
using System.Net;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The source's end of one stream. One call at a time. Every call ends: with its result, with a <see cref="DataPlaneException"/> that says
/// why the stream is over, or cancelled by its caller, which ends the stream too if bytes were under way or an answer was waited for. A
/// connection that breaks is made anew behind its back: what the target may lack of it is kept, so a call sees no more of that than the time
/// it takes. Payload counts as sent when the call returns, but small frames wait for company until the next flush, round end or finish.
/// </summary>
/// <remarks>
/// A source that would have to copy its state into a buffer first asks for the stream's own (<see cref="GetMemoryAsync"/>), fills it, and
/// commits what it filled.
/// </remarks>
public sealed class MigrationWriter : IAsyncDisposable
{
    /// <summary>Large writes are cut to what a core's own cache holds, so that the kernel copies bytes that hashing has just brought in.</summary>
    public const int SliceBytes = 256 * 1024;
    private const int GatherBytes = 64 * 1024;
    private const int HashBytes = 16;

    // Parting is a courtesy, and what it says fits in any socket buffer: a second is generous.
    private static readonly TimeSpan PartingTimeout = TimeSpan.FromSeconds(1);

    private readonly DataPlaneOptions _options;
    private readonly StreamHash _hash = new();
    private readonly TokenBucket _pace;
    private OutboundStream _outbound = null!;
    private Memory<byte> _room;
    private Expectation? _expected;
    private long _bytesSent;
    private bool _ended;
    private bool _parted;

    private MigrationWriter(DataPlaneOptions options)
    {
        _options = options;
        _pace = options.Pace ?? new TokenBucket(BandwidthLimit.None, options.Time);
    }

    /// <summary>Payload bytes accepted for sending so far. May be read from anywhere while a call is under way.</summary>
    public long BytesSent => Volatile.Read(ref _bytesSent);

    /// <summary>Hash over every state frame so far, in order: type, length, offset and payload. Read it between calls.</summary>
    public UInt128 Hash => _hash.Current;

    /// <summary>Completes with a sentence as soon as the stream is over, also while no call is under way; never faults.</summary>
    public Task<string> Lost => _outbound.Lost;

    /// <summary>Connects and presents id, stream and token; completes when the target has accepted them.</summary>
    /// <exception cref="DataPlaneException">Not reachable, not answering, or refused, with the target's sentence.</exception>
    /// <exception cref="ArgumentException">The id is empty or longer than 256 bytes of UTF-8, or the stream is negative.</exception>
    public static async Task<MigrationWriter> ConnectAsync(
        EndPoint endPoint,
        string migrationId,
        int stream,
        DataPlaneToken token,
        DataPlaneOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        options ??= new DataPlaneOptions();
        var writer = new MigrationWriter(options);
        writer._outbound = await OutboundStream.OpenAsync(endPoint, migrationId, stream, token, options, writer.Take, cancellationToken);
        return writer;
    }

    /// <summary>
    /// The stream's own memory for the next <paramref name="length"/> bytes, to be filled and committed; good until the next call. Waits until
    /// the target has taken enough of what is kept.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Negative or more than 1 MiB.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Memory<byte>> GetMemoryAsync(int length, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, FrameHeader.MaxPayload);
        using var call = BeginBeforeEnd();
        return await ReserveAsync(length, cancellationToken);
    }

    /// <summary>The first <paramref name="length"/> bytes of the memory last got are the next of the device's stream (MG-24).</summary>
    /// <exception cref="ArgumentOutOfRangeException">More than was got.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask CommitDeviceStateAsync(int length, CancellationToken cancellationToken = default)
    {
        CheckFilled(length);
        using var call = BeginBeforeEnd();
        await CommitAsync(FrameType.DeviceState, 0, length, cancellationToken);
    }

    /// <summary>
    /// The first <paramref name="length"/> bytes of the memory last got are the consumer's, <paramref name="offset"/> bytes from its beginning.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">More than was got, or the run passes the end of 64-bit offsets.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask CommitMemoryAsync(ulong offset, int length, CancellationToken cancellationToken = default)
    {
        CheckFilled(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, ulong.MaxValue - (ulong)length);
        using var call = BeginBeforeEnd();
        await CommitAsync(FrameType.Memory, offset, length, cancellationToken);
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
        using var call = Begin();
        await _outbound.DrainAsync(cancellationToken);
    }

    /// <summary>
    /// Tells the target that the source is alive but has nothing to send: due well within the target's
    /// <see cref="DataPlaneOptions.IoTimeout"/> whenever the device takes long. The writer does it itself while it waits for its bandwidth.
    /// </summary>
    public async ValueTask KeepAliveAsync(CancellationToken cancellationToken = default)
    {
        using var call = BeginBeforeEnd();
        await _outbound.SendAsync(FrameType.KeepAlive, default, cancellationToken);
    }

    /// <summary>Ends a round; completes when the target has consumed everything of it, so its duration is end to end.</summary>
    public async ValueTask EndRoundAsync(int round, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(round);
        using var call = BeginBeforeEnd();
        var acknowledged = Expect(FrameType.RoundAcknowledged, (ulong)round);
        await ReserveAsync(0, cancellationToken);
        Append(FrameType.RoundEnd, (ulong)round, 0, _hash.Append(FrameType.RoundEnd, (ulong)round, []));
        await _outbound.DrainAsync(cancellationToken);
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
        var finished = Expect(FrameType.Finished, null);
        var payload = await ReserveAsync(HashBytes, cancellationToken);
        BinaryPrimitives.WriteUInt128LittleEndian(payload.Span, hash);
        Append(FrameType.End, (ulong)bytes, HashBytes, StreamHash.Check(FrameType.End, (ulong)bytes, payload.Span));
        await _outbound.DrainAsync(cancellationToken);
        var report = await ReplyAsync(finished, cancellationToken);
        if (report.Bytes != bytes || report.Hash != hash)
        {
            throw _outbound.End(new DataPlaneException(
                $"The target has {report.Bytes} bytes with hash {report.Hash:x32}, but {bytes} bytes with hash {hash:x32} were sent."));
        }

        _parted = true;
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
            _outbound.End(new DataPlaneException($"This side aborted: {reason}"));
            await _outbound.DisposeAsync();
        }
    }

    /// <summary>Closes; a target that waits for more is told so, if it can be at once.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_parted)
            await PartAsync();
        await _outbound.DisposeAsync();
    }

    private async ValueTask<bool> TellAbortAsync(string reason, CancellationToken cancellationToken)
    {
        _parted = true;
        if (_outbound.IsOver || !_outbound.Watch.TryBegin(out var call))
            return false;
        using (call)
        {
            try
            {
                // Closing before the target has noted it could discard what the kernel has not sent yet, and the reason with it.
                _outbound.StayWithThisConnection();
                var told = Expect(FrameType.AbortNoted, 0);
                await _outbound.SendAsync(FrameType.Abort, PeerText.Encode(reason), cancellationToken);
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

    private async ValueTask PartAsync()
    {
        _parted = true;
        if (_outbound.IsOver || !_outbound.Watch.TryBegin(out var call))
            return;
        using (call)
        using (var deadline = new CancellationTokenSource(PartingTimeout, _options.Time))
        {
            try
            {
                _outbound.StayWithThisConnection();
                await _outbound.SendAsync(FrameType.Abort, PeerText.Encode("The source closed the stream before its end."), deadline.Token);
            }
            catch (Exception e) when (e is DataPlaneException or OperationCanceledException)
            {
                // It finds out by itself, and later.
            }
        }
    }

    private PeerWatch.Call Begin()
    {
        _outbound.ThrowIfOver();
        return _outbound.Watch.Begin();
    }

    private PeerWatch.Call BeginBeforeEnd()
    {
        var call = Begin();
        if (!_ended)
            return call;
        call.Dispose();
        throw new InvalidOperationException("The stream is finished; nothing more can be written.");
    }

    private void CheckFilled(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, _room.Length - FrameHeader.Size);
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
            slice.CopyTo(await ReserveAsync(slice.Length, cancellationToken));
            await CommitAsync(type, offset, slice.Length, cancellationToken);
            data = data[slice.Length..];
            if (type == FrameType.Memory)
                offset += (ulong)slice.Length;
        }
        while (!data.IsEmpty);
    }

    /// <summary>Room for a frame; what is returned is that of its payload.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Memory<byte>> ReserveAsync(int length, CancellationToken cancellationToken)
    {
        _room = await _outbound.ReserveAsync(FrameHeader.Size + length, cancellationToken);
        return _room[FrameHeader.Size..];
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask CommitAsync(FrameType type, ulong value, int length, CancellationToken cancellationToken)
    {
        await TakeTurnAsync(length, cancellationToken);
        Append(type, value, length, _hash.Append(type, value, _room.Span.Slice(FrameHeader.Size, length)));
        Volatile.Write(ref _bytesSent, _bytesSent + length);
        if (_outbound.Waiting >= GatherBytes)
            await _outbound.DrainAsync(cancellationToken);
    }

    private void Append(FrameType type, ulong value, int length, uint check)
    {
        new FrameHeader(type, length, value, check).Write(_room.Span);
        _outbound.Append(FrameHeader.Size + length);
        _room = default;
    }

    private ValueTask TakeTurnAsync(int bytes, CancellationToken cancellationToken)
    {
        var wait = _pace.Take(bytes, out var changed);
        return wait == TimeSpan.Zero ? ValueTask.CompletedTask : WaitForTurnAsync(bytes, wait, changed, cancellationToken);
    }

    private async ValueTask WaitForTurnAsync(int bytes, TimeSpan wait, Task changed, CancellationToken cancellationToken)
    {
        // What was paid for goes before the wait, not after.
        await _outbound.DrainAsync(cancellationToken);
        var alive = _options.IoTimeout / 4;
        do
        {
            _outbound.Watch.Pause();
            using var woken = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var delay = Task.Delay(wait < alive ? wait : alive, _options.Time, woken.Token);
            await Task.WhenAny(delay, changed, Lost);
            var silent = delay.IsCompleted;
            await woken.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            _outbound.Watch.Resume();
            _outbound.ThrowIfOver();
            if (silent && wait > alive)
                await _outbound.SendAsync(FrameType.KeepAlive, default, cancellationToken);
            wait = _pace.Take(bytes, out changed);
        }
        while (wait > TimeSpan.Zero);
    }

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
            await Task.WhenAny(reply, Lost).WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // A reply that comes after its caller has gone would be taken for the next one's.
            _outbound.End(new DataPlaneException("This side stopped waiting for the target."));
            throw;
        }

        // The last reply may be followed by the end of the connection at once; it counts all the same.
        if (!reply.IsCompletedSuccessfully)
            _outbound.ThrowIfOver();
        return await reply;
    }

    private void Take(Frame reply)
    {
        if (reply.Type is not (FrameType.RoundAcknowledged or FrameType.Finished or FrameType.AbortNoted))
            throw new DataPlaneException($"The target sent a frame of type {(byte)reply.Type}, which is not a reply.");
        var expected = Interlocked.Exchange(ref _expected, null);
        if (expected is null || expected.Type != reply.Type || (expected.Value ?? reply.Value) != reply.Value)
            throw new DataPlaneException($"The target sent a reply nobody asked for: type {(byte)reply.Type}, {reply.Value}.");
        expected.Reply.SetResult(Report(reply));
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

    private sealed record Expectation(FrameType Type, ulong? Value)
    {
        public TaskCompletionSource<TransferReport> Reply { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
