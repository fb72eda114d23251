namespace Fabric.Cli.Tests.Demo;

/// <summary>
/// The system's time, which a test may put forward: what is measured grows, what is waited for does not. Waits are a twentieth of
/// what is asked for.
/// </summary>
internal sealed class ShiftedTime : TimeProvider
{
    private long _shift;

    public override long GetTimestamp() => System.GetTimestamp() + Volatile.Read(ref _shift);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        System.CreateTimer(callback, state, dueTime > TimeSpan.Zero ? dueTime / 20 : dueTime, period);

    public void Shift(TimeSpan forward) => Interlocked.Add(ref _shift, (long)(forward.TotalSeconds * TimestampFrequency));
}
