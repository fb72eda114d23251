using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>An uncorrectable error is injected into the device in use.</summary>
internal static class DeviceErrorAct
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        var before = await stage.WorkingAsync(cancellation);
        stage.Screen.Heading($"An uncorrectable AER error in {before.Host}/{before.Device}");
        var error = new FaultRequest("aer", Severity: "non-fatal");
        var recovery = (await stage.Api.InjectAsync(before.Host!, before.Device!, error, cancellation)).Value.Recovery!;
        stage.Record.Recovery = recovery;
        ResourceViews.Show(stage.Screen, recovery);
        stage.Check(
            "device recovered from the error",
            recovery.Outcome == "recovered",
            $"{recovery.Outcome} in {Units.Time(recovery.Milliseconds)}, {recovery.Steps?.Count ?? 0} steps");
        var steps = before.Workload?.Steps ?? 0;
        var after = await stage.UntilAsync(
            stage.ClaimAsync,
            claim => claim is { Phase: "running", Workload: { } workload } && workload.Steps > steps,
            $"Claim {before.Id} makes no steps since the error in its device",
            Limit,
            cancellation);
        stage.Check("workload goes on after the recovery", true, $"{Units.Count(after.Workload!.Steps - steps)} more steps");
    }
}
