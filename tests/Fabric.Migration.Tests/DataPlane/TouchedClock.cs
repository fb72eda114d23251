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
        return base.CreateTimer(callback, state, dueTime, period);
    }

    public void Forget()
    {
        while (_touches.Reader.TryRead(out _))
        {
        }
    }

    public async Task TouchedAsync() => await _touches.Reader.ReadAsync(TestContext.Current.CancellationToken);
}
