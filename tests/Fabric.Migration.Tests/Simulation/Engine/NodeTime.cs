namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>The clocks of one node: its wall clock is off, and both run a little fast or slow.</summary>
/// <param name="drift">0.01 gains a hundredth.</param>
internal sealed class NodeTime(VirtualClock clock, TimeSpan offset, double drift) : TimeProvider
{
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => clock.Now.Ticks + (long)(clock.Now.Ticks * drift);

    public override DateTimeOffset GetUtcNow() => clock.UtcNow + offset + (clock.Now * drift);

    /// <summary>How long of everybody's time this much of the node's takes.</summary>
    public TimeSpan OfAll(TimeSpan here) => here / (1 + drift);
}
