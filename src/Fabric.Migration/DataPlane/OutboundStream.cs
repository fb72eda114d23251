using System.Net;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The source's side of one stream, whatever becomes of its connections: sends what the <see cref="Window"/> keeps, hears what the target
/// says, and makes a connection that broke anew, to go on at the first frame that the target does not have. It is over when the target
/// refuses, one of both breaks the protocol, or no new connection could be made in time.
/// </summary>
internal sealed class OutboundStream : IAsyncDisposable
{
    private const int HashBytes = 16;
    private const int MaxReply = HashBytes + PeerText.MaxBytes;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly EndPoint _endPoint;
    private readonly string _migrationId;
    private readonly int _stream;
    private readonly DataPlaneToken _token;
    private readonly DataPlaneOptions _options;
    private readonly Action<Frame> _take;
    private readonly FlightLimit _flight;
    private readonly Window _window;
    private readonly Signal _room = new();
    private readonly CancellationTokenSource _closing = new();
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Who has it writes to the connection. Nobody else waits for it but the one who begins a new connection or sends a frame by itself.
    private readonly SemaphoreSlim _turn = new(1, 1);
    private Wire? _wire;
    private SocketStream? _socket;
    private FrameSource? _replies;

    /// <summary>Of the connection: it has been heard out, and what it said is why it is broken.</summary>
    private TaskCompletionSource _lastWords = new();
    private uint _connections;
    private uint _repliesTaken;
    private DataPlaneException? _failure;
    private volatile bool _lastOne;
    private Task _hearing = Task.CompletedTask;
    private Task _sending = Task.CompletedTask;

    private OutboundStream(
        EndPoint endPoint, string migrationId, int stream, DataPlaneToken token, DataPlaneOptions options, Action<Frame> take)
    {
        _endPoint = endPoint;
        _migrationId = migrationId;
        _stream = stream;
        _token = token;
        _options = options;
        _take = take;
        _flight = new FlightLimit(options.WindowBytes, options.Time);
        _window = new Window(options.WindowBytes);
        Watch = new PeerWatch(options, BlamePeer);
    }

    public PeerWatch Watch { get; }

    /// <summary>Completes with the sentence once the stream is over, whichever side ended it; never faults.</summary>
    public Task<string> Lost => _lost.Task;

    public bool IsOver => Volatile.Read(ref _failure) is not null;

    /// <summary>Bytes of frames that wait to be sent.</summary>
    public long Waiting => _window.Waiting;

    /// <summary>Connects for the first time, which has one attempt.</summary>
    /// <param name="endPoint">The target's data plane.</param>
    /// <param name="migrationId">As the target expects it.</param>
    /// <param name="stream">Number of the stream.</param>
    /// <param name="token">The migration's secret.</param>
    /// <param name="options">Deadlines, window and TLS.</param>
    /// <param name="take">Takes each reply but acknowledgements; what it throws ends the stream.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async Task<OutboundStream> OpenAsync(
        EndPoint endPoint,
        string migrationId,
        int stream,
        DataPlaneToken token,
        DataPlaneOptions options,
        Action<Frame> take,
        CancellationToken cancellationToken)
    {
        var outbound = new OutboundStream(endPoint, migrationId, stream, token, options, take);
        try
        {
            await outbound.ConnectAsync(cancellationToken);
            outbound._hearing = StreamThread.RunAsync(outbound.LiveAsync);
            return outbound;
        }
        catch
        {
            await outbound.DisposeAsync();
            throw;
        }
    }

    /// <summary>Room for a frame of <paramref name="bytes"/>, good until the next call: this is where the source waits for its target.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Memory<byte>> ReserveAsync(int bytes, CancellationToken cancellationToken)
    {
        ThrowIfOver();
        if (_window.TryReserve(bytes, out var room))
            return room;
        await DrainAsync(cancellationToken);
        using var registration = cancellationToken.UnsafeRegister(static signal => ((Signal)signal!).Set(), _room);
        while (!_window.TryReserve(bytes, out room))
        {
            await _room.WaitAsync();
            cancellationToken.ThrowIfCancellationRequested();
            ThrowIfOver();
        }

        return room;
    }

    /// <summary>The frame in the first <paramref name="bytes"/> of the reserved room is composed. It leaves with the next <see cref="DrainAsync"/>.</summary>
    public void Append(int bytes) => _window.Append(bytes);

    /// <summary>
    /// Sends all that waits, unless somebody is at it, who then sends this too. A connection that breaks meanwhile is no failure: what was sent
    /// is kept, and the next connection begins with it.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask DrainAsync(CancellationToken cancellationToken)
    {
        while (_window.Waiting > 0 && _wire is { IsBroken: false } && _turn.Wait(0, CancellationToken.None))
        {
            try
            {
                await SendWaitingAsync(_wire, cancellationToken);
            }
            catch (DataPlaneException e) when (e.IsLoss)
            {
                return;
            }
            finally
            {
                _turn.Release();
            }
        }

        ThrowIfOver();
    }

    /// <summary>Sends a frame that is not kept, after all that waits; lost with its connection, which is no failure either.</summary>
    public async ValueTask SendAsync(FrameType type, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (_wire is not { IsBroken: false } wire)
                return;
            await SendWaitingAsync(wire, cancellationToken);
            using var sink = new FrameSink(wire, FrameHeader.Size + payload.Length);
            await sink.SendAsync(type, 0, payload, cancellationToken);
        }
        catch (DataPlaneException e) when (e.IsLoss)
        {
            return;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Nothing follows that would be worth another connection.</summary>
    public void StayWithThisConnection() => _lastOne = true;

    /// <summary>The stream is over, for this reason unless it already is for another; returns the one that counts.</summary>
    public DataPlaneException End(DataPlaneException why)
    {
        var first = Interlocked.CompareExchange(ref _failure, why, null) ?? why;
        if (!ReferenceEquals(first, why))
            return Copy(first);
        _wire?.Break(why.Message, why.InnerException);
        _closing.Cancel();
        _lost.TrySetResult(why.Message);
        _room.Set();
        return Copy(first);
    }

    public void ThrowIfOver()
    {
        if (Volatile.Read(ref _failure) is { } failure)
            throw Copy(failure);
    }

    public async ValueTask DisposeAsync()
    {
        End(new DataPlaneException("This side closed the connection."));
        await _hearing;
        await _sending;
        await Watch.DisposeAsync();
        _replies?.Dispose();
        _closing.Dispose();
    }

    // An exception that is thrown twice would collect both stacks.
    private static DataPlaneException Copy(DataPlaneException e) => new(e.Message, e.InnerException);

    private static DataPlaneException Refusal(Frame refused) => new($"The target refused: {PeerText.Decode(refused.Payload.Span)}");

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SendWaitingAsync(Wire wire, CancellationToken cancellationToken)
    {
        try
        {
            while (_window.Next() is { IsEmpty: false } bytes)
            {
                // It counts as sent before it is, so that it can be acknowledged as soon as it is; a new connection counts anew.
                _window.Sent(bytes.Length);
                await wire.WriteAsync(bytes, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            End(new DataPlaneException("This side cancelled a write, and the stream with it."));
            throw;
        }
    }

    /// <summary>Runs as long as the stream: a peer that dies or refuses is noticed at once, not at the next write.</summary>
    private async Task LiveAsync()
    {
        while (true)
        {
            var (wire, lastWords) = (_wire!, _lastWords);
            var why = await HearAsync(_replies!);
            wire.Break(why.Message, why.InnerException);
            lastWords.SetResult();
            if (!why.IsLoss || IsOver || _lastOne || _options.ResumeTimeout == TimeSpan.Zero)
            {
                End(why);
                return;
            }

            try
            {
                await ResumeAsync(why);
            }
            catch (DataPlaneException e)
            {
                End(e);
                return;
            }
        }
    }

    /// <summary>Hears the target out, and tells why that ended.</summary>
    private async Task<DataPlaneException> HearAsync(FrameSource replies)
    {
        try
        {
            while (true)
                Take(await replies.NextAsync(CancellationToken.None));
        }
        catch (DataPlaneException e)
        {
            return e;
        }
    }

    private void Take(Frame reply)
    {
        switch (reply.Type)
        {
            case FrameType.KeepAlive:
                return;
            case FrameType.Consumed:
                if (reply.Value > long.MaxValue || !_window.Acknowledge((long)reply.Value))
                    throw new DataPlaneException($"The target acknowledged {reply.Value} bytes, which it cannot have.");
                _wire!.GotSomewhere = true;
                Judge((long)reply.Value);
                _room.Set();
                return;
            case FrameType.Refused:
                throw Refusal(reply);
            default:
                _take(reply);
                _lastOne |= reply.Type == FrameType.Finished;
                _wire!.GotSomewhere = true;
                _repliesTaken++;
                return;
        }
    }

    private void Judge(long acknowledged)
    {
        if (!_flight.Acknowledged(acknowledged))
            return;
        _flight.Look(_socket!.RoundTrip);
        _window.Limit = _flight.Bytes;
    }

    private async Task ResumeAsync(DataPlaneException lost)
    {
        using var deadline = new CancellationTokenSource(_options.ResumeTimeout, _options.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _closing.Token);
        var last = lost;
        for (var pause = FirstPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            try
            {
                await ConnectAsync(either.Token);
                break;
            }
            catch (DataPlaneException e) when (e.IsLoss)
            {
                last = e;
            }
            catch (DataPlaneException e)
            {
                throw new DataPlaneException($"{lost.Message} It could not be taken up again: {e.Message}", lost.InnerException);
            }
            catch (OperationCanceledException)
            {
                throw NotInTime(lost, last);
            }

            try
            {
                await Task.Delay(pause, _options.Time, either.Token);
            }
            catch (OperationCanceledException)
            {
                throw NotInTime(lost, last);
            }
        }

        Watch.Progressed();
        _room.Set();

        // The target reads what it lacks while it is heard: neither may wait for the other.
        await _sending;
        _sending = StreamThread.RunAsync(SendAgainAsync);
    }

    private async Task SendAgainAsync()
    {
        try
        {
            await DrainAsync(CancellationToken.None);
        }
        catch (DataPlaneException)
        {
            // The stream is over, which whoever uses it is told.
        }
    }

    private DataPlaneException NotInTime(DataPlaneException lost, DataPlaneException last) => new(
        FormattableString.Invariant(
            $"{lost.Message} It could not be taken up again within {_options.ResumeTimeout.TotalSeconds:0.###} seconds: {last.Message}"),
        lost.InnerException);

    /// <summary>Makes a connection, presents id, stream and token, and learns what the target has.</summary>
    /// <exception cref="DataPlaneException">Not reachable or not answering, which is a loss; or refused.</exception>
    private async Task ConnectAsync(CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(_options.IoTimeout, _options.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var (stream, socket) = await Transport.ConnectAsync(_endPoint, _options, cancellationToken);
        var wire = new Wire(stream, Watch);
        var replies = new FrameSource(wire, MaxReply, hash: null);
        try
        {
            await wire.WriteAsync(Hello.Compose(_migrationId, _stream, _connections++, _repliesTaken, _token), either.Token);
            var answer = await replies.NextAsync(either.Token);
            if (answer.Type == FrameType.Refused)
                throw Refusal(answer);
            if (answer.Type != FrameType.Accepted)
                throw new DataPlaneException($"The target answered the hello with a frame of type {(byte)answer.Type}.");
            await AdoptAsync(wire, socket, replies, answer, cancellationToken);
        }
        catch (Exception e)
        {
            replies.Dispose();
            await wire.DisposeAsync();
            if (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
            {
                throw new DataPlaneException(FormattableString.Invariant(
                    $"The target did not answer the hello within {_options.IoTimeout.TotalSeconds:0.###} seconds.")) { IsLoss = true };
            }

            throw;
        }
    }

    private async Task AdoptAsync(Wire wire, SocketStream socket, FrameSource replies, Frame accepted, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            var position = accepted.Value;
            if (position > long.MaxValue || !_window.Rewind((long)position))
                throw new DataPlaneException($"The target wants the stream from byte {position}, which is not kept.");
            _replies?.Dispose();
            (_wire, _socket, _replies) = (wire, socket, replies);
            _lastWords = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            wire.LastWords = _lastWords.Task;
            _flight.Restart((long)position, Acceptance.Read(accepted.Payload.Span));
            _window.Limit = _flight.Bytes;
        }
        finally
        {
            _turn.Release();
        }

        // The stream may have ended while the connection was made, and then knew nothing of it.
        if (Volatile.Read(ref _failure) is { } failure)
            wire.Break(failure.Message);
    }

    private void BlamePeer(string sentence)
    {
        if (_wire is not { IsBroken: false } wire)
            Watch.Progressed();
        else if (wire.GotSomewhere)
            wire.Lose(sentence);
        else
            wire.Break(sentence);
    }
}
