namespace Fabric.Migration.DataPlane;

/// <summary>
/// Paces the writers that share it. A frame goes out whole as soon as the frames before it are paid for, so a frame may be larger than the burst;
/// unused time is kept for at most <see cref="Burst"/>, which also absorbs timers that fire late.
/// </summary>
public sealed class TokenBucket
{
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(50);

    private readonly Lock _gate = new();
    private readonly TimeProvider _time;
    private BandwidthLimit _limit;
    private double _balance;
    private long _settled;
    private TaskCompletionSource _changed = NewSignal();

    public TokenBucket(BandwidthLimit limit, TimeProvider time)
    {
        _limit = limit;
        _time = time;
        _settled = time.GetTimestamp();
    }

    /// <summary>How fast payload may leave. Takes effect at once, also for whoever is waiting for its turn.</summary>
    public BandwidthLimit Limit
    {
        get
        {
            lock (_gate)
                return _limit;
        }

        set
        {
            lock (_gate)
            {
                Settle();
                _limit = value;
                if (value.IsNone)
                    _balance = 0;
                _changed.SetResult();
                _changed = NewSignal();
            }
        }
    }

    /// <summary>
    /// Takes <paramref name="bytes"/> and returns zero, or takes nothing and returns how long to wait before asking again;
    /// <paramref name="changed"/> then completes early if the limit is changed meanwhile.
    /// </summary>
    internal TimeSpan Take(int bytes, out Task changed)
    {
        lock (_gate)
        {
            changed = _changed.Task;
            if (_limit.IsNone)
                return TimeSpan.Zero;
            Settle();
            if (_balance >= 0)
            {
                _balance -= bytes;
                return TimeSpan.Zero;
            }

            // Whole milliseconds upwards: timers cut fractions off, and a wait of zero would spin.
            return TimeSpan.FromMilliseconds(Math.Ceiling(-_balance * 1000 / _limit.BytesPerSecond));
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Settle()
    {
        var now = _time.GetTimestamp();
        var earned = _limit.BytesPerSecond * _time.GetElapsedTime(_settled, now).TotalSeconds;
        _balance = Math.Min(_balance + earned, _limit.BytesPerSecond * Burst.TotalSeconds);
        _settled = now;
    }
}
