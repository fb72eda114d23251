using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>A consumer claims a function of host-a and works on it.</summary>
internal static class ConsumerAct
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Warming = TimeSpan.FromSeconds(1);

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        stage.Screen.Heading($"A consumer claims a function on {DemoNames.HostA} and runs a workload that shows every lost step");
        var request = new CreateClaimRequest(stage.Options.Claim, Host: DemoNames.HostA, StepsPerSecond: stage.Options.StepsPerSecond);
        await stage.Api.CreateClaimAsync(request, cancellation);
        var claim = await stage.Screen.ShowAsync(async board =>
        {
            await stage.RunningAsync(StartLimit, cancellation);
            await using var ticker = new WorkloadTicker(board, stage.Api, stage.Options.Claim, stage.Time, cancellation);
            await Task.Delay(Warming, stage.Time, cancellation);
            return await stage.UntilAsync(
                stage.ClaimAsync,
                seen => seen.Workload is { Steps: > 0 },
                $"Claim {stage.Options.Claim} makes no steps",
                StartLimit,
                cancellation);
        });
        var size = Units.Bytes(stage.Options.StateSize.Bytes);
        stage.Screen.Line($"Claim {claim.Id} runs on {claim.Host}/{claim.Device}, {size} of device state.");
        stage.Require(
            $"workload runs on {DemoNames.HostA}",
            claim.Host == DemoNames.HostA,
            $"{Units.Count(claim.Workload!.Steps)} steps in its first second");
    }
}
