using System.Threading.Tasks.Sources;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// Wakes the one that waits; a signal that nobody waits for is kept for the next who does. A wait allocates nothing. On a thread of a stream's own
/// it blocks, and is woken up without a detour.
/// </summary>
internal sealed class Signal : IValueTaskSource
{
    /// <summary>As <see cref="SemaphoreSlim"/> does before it blocks.</summary>
    private const int Spins = 35;

    private readonly object _gate = new();
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };
    private bool _set;
    private bool _waiting;

    public void Set()
    {
        lock (_gate)
        {
            if (!_waiting)
            {
                _set = true;
                Monitor.Pulse(_gate);
                return;
            }

            _waiting = false;
        }

        _core.SetResult(true);
    }

    /// <summary>Completes at the next signal. One waiter at a time; who wants to stop waiting signals it.</summary>
    public ValueTask WaitAsync()
    {
        var spinning = default(SpinWait);
        while (StreamThread.IsCurrent && spinning.Count < Spins && !Volatile.Read(ref _set))
            spinning.SpinOnce(sleep1Threshold: -1);

        lock (_gate)
        {
            while (!_set && StreamThread.IsCurrent)
                Monitor.Wait(_gate);
            if (_set)
            {
                _set = false;
                return ValueTask.CompletedTask;
            }

            _core.Reset();
            _waiting = true;
            return new ValueTask(this, _core.Version);
        }
    }

    void IValueTaskSource.GetResult(short token) => _core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
