using System.Threading.Channels;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>
/// A clock that stands still and tells what was asked of it: when somebody looked at it, which a stream does when it saw progress, and how
/// long the last timer was to run, which is how long a frame has to wait.
/// </summary>
internal sealed class TouchedClock : FakeTimeProvider
{
    private readonly Channel<bool> _touches = Channel.CreateUnbounded<bool>();
    private readonly Channel<TimeSpan> _timers = Channel.CreateUnbounded<TimeSpan>();

    public TimeSpan LastTimer { get; private set; }

    public override long GetTimestamp()
    {
        var now = base.GetTimestamp();

        // The base class's constructor looks too.
        _touches?.Writer.TryWrite(true);
        return now;
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        LastTimer = dueTime;
        var timer = base.CreateTimer(callback, state, dueTime, period);
        _timers.Writer.TryWrite(dueTime);
        return timer;
    }

    public void ForgetTimers()
    {
        while (_timers.Reader.TryRead(out _))
        {
        }
    }

    /// <summary>How long the next timer is to run, once it is set.</summary>
    public async Task<TimeSpan> NextTimerAsync() => await _timers.Reader.ReadAsync(TestContext.Current.CancellationToken);

    public void Forget()
    {
        while (_touches.Reader.TryRead(out _))
        {
        }
    }

    public async Task TouchedAsync() => await _touches.Reader.ReadAsync(TestContext.Current.CancellationToken);
}
