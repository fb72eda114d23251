using BenchmarkDotNet.Reports;

namespace Fabric.Benchmarks;

/// <summary>What every benchmark of a class has to keep to: a median time, and bytes allocated by one operation.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class TargetAttribute(double nanoseconds, long bytes) : Attribute
{
    public double Nanoseconds => nanoseconds;

    public long Bytes => bytes;

    /// <summary>Says which benchmarks missed their target. 0: none did, and none failed to run.</summary>
    public static int Judge(IEnumerable<Summary> summaries)
    {
        var (met, missed) = (0, new List<string>());
        foreach (var summary in summaries)
        {
            foreach (var benchmark in summary.BenchmarksCases)
            {
                if (GetCustomAttribute(benchmark.Descriptor.Type, typeof(TargetAttribute)) is not TargetAttribute target)
                    continue;
                if (target.Misses(summary[benchmark]) is { } miss)
                    missed.Add($"{benchmark.Descriptor.WorkloadMethodDisplayInfo} {benchmark.Parameters.DisplayInfo}: {miss}");
                else
                    met++;
            }
        }

        Console.WriteLine($"Targets: {met} met, {missed.Count} missed.");
        foreach (var miss in missed)
            Console.WriteLine($"  {miss}");
        return missed.Count == 0 ? 0 : 1;
    }

    private string? Misses(BenchmarkReport? report)
    {
        if (report is not { Success: true, ResultStatistics: { } statistics })
            return "it did not run";
        var allocated = report.GcStats.GetBytesAllocatedPerOperation(report.BenchmarkCase) ?? 0;
        return statistics.Median > nanoseconds || allocated > bytes
            ? string.Create(null, $"{statistics.Median:F1} ns of {nanoseconds}, {allocated} bytes of {bytes}")
            : null;
    }
}
