using System.Diagnostics;

namespace Fabric.Benchmarks.Fleets;

/// <summary>CPU time of this process and the clock, from when it was begun.</summary>
internal readonly struct Cost
{
    private readonly TimeSpan cpu;
    private readonly long clock;

    private Cost(TimeSpan cpu, long clock) => (this.cpu, this.clock) = (cpu, clock);

    public double CpuMs => (ProcessTime() - cpu).TotalMilliseconds;

    public double ClockMs => Stopwatch.GetElapsedTime(clock).TotalMilliseconds;

    public static Cost Begin() => new(ProcessTime(), Stopwatch.GetTimestamp());

    /// <summary>Bytes that are alive after full collections.</summary>
    public static long Alive()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static TimeSpan ProcessTime() => Environment.CpuUsage.TotalTime;
}
