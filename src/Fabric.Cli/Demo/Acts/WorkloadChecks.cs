using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>What the consumer's own count of steps says.</summary>
internal static class WorkloadChecks
{
    /// <summary>Between two looks, both with a workload, it made steps.</summary>
    public static void WentOn(Stage stage, string name, ClaimResource before, ClaimResource after)
    {
        var (first, second) = (before.Workload!, after.Workload!);
        stage.Check(
            name,
            second.Steps > first.Steps,
            $"{Units.Count(second.Steps - first.Steps)} steps meanwhile, longest gap so far {Units.Time(second.LongestGapMs)}");
    }

    /// <summary>
    /// Between two looks, both with a workload, it made steps and never stopped for longer than the downtime limit. The consumer
    /// measures its longest gap anew with each migration, so that it is one of the migration between the looks.
    /// </summary>
    public static void NeverStoppedForLonger(Stage stage, string name, ClaimResource before, ClaimResource after)
    {
        var (first, second) = (before.Workload!, after.Workload!);
        var limit = stage.Options.DowntimeMs;
        stage.Check(
            name,
            second.Steps > first.Steps && second.LongestGapMs <= limit,
            $"{Units.Count(second.Steps - first.Steps)} steps meanwhile, longest gap {Units.Time(second.LongestGapMs)} of "
            + $"{Units.Time(limit)}");
    }
}
