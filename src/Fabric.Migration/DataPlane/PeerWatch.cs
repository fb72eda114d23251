namespace Fabric.Migration.DataPlane;

/// <summary>
/// Sees to it that a stream has one call at a time, and that none waits for ever for a peer that is silent. The watch is one timer a stream
/// rather than one deadline an operation, so that moving bytes costs a time stamp and no allocation.
/// </summary>
internal sealed class PeerWatch : IAsyncDisposable
{
    private const long NobodyWaits = long.MaxValue;

    private readonly TimeProvider _time;
    private readonly TimeSpan _ioTimeout;
    private readonly Action<string> _silent;
    private readonly ITimer _timer;
    private int _busy;
    private long _waitingSince = NobodyWaits;

    /// <param name="options">The clock, and how long a peer may be silent.</param>
    /// <param name="silent">Told with a sentence, again and again, as long as a call waits for a silent peer.</param>
    public PeerWatch(DataPlaneOptions options, Action<string> silent)
    {
        _time = options.Time;
        _ioTimeout = options.IoTimeout;
        _silent = silent;
        _timer = _time.CreateTimer(static watch => ((PeerWatch)watch!).Look(), this, _ioTimeout / 4, _ioTimeout / 4);
    }

    public bool IsBusy => Volatile.Read(ref _busy) != 0;

    /// <summary>Begins a call that is watched until it is disposed.</summary>
    /// <exception cref="InvalidOperationException">Another call is under way.</exception>
    public Call Begin() =>
        TryBegin(out var call) ? call : throw new InvalidOperationException("A migration stream takes one call at a time.");

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

    public ValueTask DisposeAsync() => _timer.DisposeAsync();

    private void End()
    {
        Volatile.Write(ref _waitingSince, NobodyWaits);
        Volatile.Write(ref _busy, 0);
    }

    private void Look()
    {
        var since = Volatile.Read(ref _waitingSince);
        if (since != NobodyWaits && _time.GetElapsedTime(since) >= _ioTimeout)
            _silent(FormattableString.Invariant($"The peer made no progress for {_ioTimeout.TotalSeconds:0.###} seconds."));
    }

    internal readonly struct Call(PeerWatch watch) : IDisposable
    {
        public void Dispose() => watch.End();
    }
}
