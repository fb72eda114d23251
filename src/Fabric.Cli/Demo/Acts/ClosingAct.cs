using Fabric.Cli.Output;

namespace Fabric.Cli.Demo.Acts;

/// <summary>Everything is counted, and the device is given back.</summary>
internal static class ClosingAct
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        stage.Screen.Heading("Counting");
        var verification = (await stage.Api.VerifyClaimAsync(stage.Options.Claim, cancellation)).Value;
        stage.Record.Verification = verification;
        var workload = (await stage.WorkingAsync(cancellation)).Workload!;
        stage.Record.Workload = workload;
        stage.Check("no step lost", workload is { Lost: 0, Steps: > 0 }, $"{Units.Count(workload.Lost)} of {Units.Count(workload.Steps)}");
        stage.Check("no step repeated", workload.Repeated == 0, Units.Count(workload.Repeated));
        stage.Check("no record torn", workload.Torn == 0, Units.Count(workload.Torn));
        stage.Check(
            "memory and device state as the step count says",
            verification is { Damaged: 0, MemoryRecords: > 0, DeviceCells: > 0 },
            $"{Units.Count(verification.MemoryRecords)} records, {Units.Count(verification.DeviceCells)} counters, "
            + $"{Units.Count(verification.Damaged)} damaged");
        await stage.Api.ReleaseClaimAsync(stage.Options.Claim, cancellation);
        var released = await stage.UntilAsync(
            stage.ClaimAsync, claim => claim.Phase == "released", $"Claim {stage.Options.Claim} is not released", Limit, cancellation);
        stage.Check("device given back", true, $"claim {released.Id} is {released.Phase}");
    }
}
