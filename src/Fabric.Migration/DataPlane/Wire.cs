using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// One connection. It turns every way a connection can fail into a <see cref="DataPlaneException"/> with a sentence, keeps the first of
/// them for all later calls, and watches that a call which waits for the peer sees progress. The watch is one timer per connection
/// rather than one deadline per operation, so that moving bytes costs a time stamp and no allocation.
/// </summary>
internal sealed class Wire : IAsyncDisposable
{
    // A write is handed to the kernel in pieces so that a slow peer counts as progress.
    private const int PieceBytes = 256 * 1024;
    private const long NobodyWaits = long.MaxValue;

    private readonly Stream _stream;
    private readonly TimeProvider _time;
    private readonly TimeSpan _ioTimeout;
    private readonly ITimer _watch;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Breakage? _breakage;
    private int _busy;
    private long _waitingSince = NobodyWaits;

    /// <summary>Takes over <paramref name="stream"/>, which owns its socket.</summary>
    public Wire(Stream stream, DataPlaneOptions options)
    {
        _stream = stream;
        _time = options.Time;
        _ioTimeout = options.IoTimeout;
        _watch = _time.CreateTimer(static wire => ((Wire)wire!).Watch(), this, _ioTimeout / 4, _ioTimeout / 4);
    }

    /// <summary>Completes with the sentence once the connection is no more, whichever side ended it.</summary>
    public Task<string> Lost => _lost.Task;

    public bool IsBroken => Volatile.Read(ref _breakage) is not null;

    public bool IsBusy => Volatile.Read(ref _busy) != 0;

    /// <summary>
    /// What reads the peer's replies while the other direction writes. A failed write waits for it to end before it explains itself: the
    /// peer's last words say more than "connection reset".
    /// </summary>
    public Task LastWords { get; set; } = Task.CompletedTask;

    /// <summary>Begins a call that is watched until it is disposed.</summary>
    /// <exception cref="DataPlaneException">The connection is already broken.</exception>
    /// <exception cref="InvalidOperationException">Another call is under way.</exception>
    public Call Begin()
    {
        ThrowIfBroken();
        return TryBegin(out var call) ? call : throw new InvalidOperationException("A migration stream takes one call at a time.");
    }

    /// <summary>Begins a call unless another is under way.</summary>
    public bool TryBegin(out Call call)
    {
        call = new Call(this);
        if (Interlocked.Exchange(ref _busy, 1) != 0)
            return false;
        Resume();
        return true;
    }

    /// <summary>The current call goes on, but for reasons of its own: the peer is not to blame until <see cref="Resume"/>.</summary>
    public void Pause() => Volatile.Write(ref _waitingSince, NobodyWaits);

    public void Resume() => Volatile.Write(ref _waitingSince, _time.GetTimestamp());

    /// <summary>The peer gave a sign of life. Never starts the watch: the call it counts for may just have ended.</summary>
    public void Progressed()
    {
        var since = Volatile.Read(ref _waitingSince);
        if (since != NobodyWaits)
            Interlocked.CompareExchange(ref _waitingSince, _time.GetTimestamp(), since);
    }

    /// <summary>Reads at least one byte.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        int read;
        try
        {
            read = await _stream.ReadAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (IsLoss(e))
        {
            throw Break($"The connection was lost while reading: {Cause(e)}.", e);
        }
        catch (OperationCanceledException)
        {
            Break("This side cancelled a read, and the stream with it.");
            throw;
        }

        if (read == 0)
            throw Break("The peer closed the connection.");
        Progressed();
        return read;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            while (!bytes.IsEmpty)
            {
                var piece = bytes[..Math.Min(bytes.Length, PieceBytes)];
                await _stream.WriteAsync(piece, cancellationToken);
                Progressed();
                bytes = bytes[piece.Length..];
            }
        }
        catch (Exception e) when (IsLoss(e))
        {
            await LastWords;
            throw Break($"The connection was lost while writing: {Cause(e)}.", e);
        }
        catch (OperationCanceledException)
        {
            // Part of a frame may be gone, and nothing can follow half a frame.
            Break("This side cancelled a write, and the stream with it.");
            throw;
        }
    }

    /// <summary>Ends the connection, unless it already is, and returns the exception that says why it first ended.</summary>
    public DataPlaneException Break(string sentence, Exception? cause = null)
    {
        var mine = new Breakage(sentence, cause);
        var first = Interlocked.CompareExchange(ref _breakage, mine, null) ?? mine;
        if (ReferenceEquals(first, mine))
        {
            // Closing is what wakes whoever waits in a read or a write.
            _stream.Dispose();
            _lost.SetResult(sentence);
        }

        return first.ToException();
    }

    public void ThrowIfBroken()
    {
        if (Volatile.Read(ref _breakage) is { } breakage)
            throw breakage.ToException();
    }

    public async ValueTask DisposeAsync()
    {
        Break("This side closed the connection.");
        await _watch.DisposeAsync();
    }

    private static bool IsLoss(Exception e) => e is IOException or SocketException or ObjectDisposedException;

    private static string Cause(Exception e) => (e.InnerException ?? e).Message.TrimEnd('.');

    private void End()
    {
        Volatile.Write(ref _waitingSince, NobodyWaits);
        Volatile.Write(ref _busy, 0);
    }

    private void Watch()
    {
        var since = Volatile.Read(ref _waitingSince);
        if (since != NobodyWaits && _time.GetElapsedTime(since) >= _ioTimeout)
            Break(FormattableString.Invariant($"The peer made no progress for {_ioTimeout.TotalSeconds:0.###} seconds."));
    }

    private sealed record Breakage(string Sentence, Exception? Cause)
    {
        public DataPlaneException ToException() => new(Sentence, Cause);
    }

    internal readonly struct Call(Wire wire) : IDisposable
    {
        public void Dispose() => wire.End();
    }
}
