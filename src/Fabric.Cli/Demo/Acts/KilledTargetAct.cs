using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>The way back to host-a, which is killed in the middle of it: the claim must stay where it is, and work.</summary>
internal static class KilledTargetAct
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private const string Back = "claim running";

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        stage.Screen.Heading($"Migration back to {DemoNames.HostA}, which is killed before the commit");
        var before = await stage.WorkingAsync(cancellation);
        var (migration, claim, later, failover) = await stage.Screen.ShowAsync(async board =>
        {
            await using var ticker = new WorkloadTicker(board, stage.Api, stage.Options.Claim, stage.Time, cancellation);
            var started = await stage.MigrateAsync(DemoNames.HostA, stage.Options.ThrottleMibPerSecond, cancellation);
            await stage.MiddleOfAsync(board, started.Id, cancellation);
            var clock = new FailoverClock(stage.Time);
            var pid = stage.Fabric.Pid(DemoNames.HostA);
            await stage.Fabric.KillAsync(DemoNames.HostA);
            board.Set($"kill -9 {DemoNames.HostA}", 1, "killed", $"process {pid}");
            var ended = await stage.EndOfAsync(board, started.Id, Limit, cancellation);
            clock.Reach("migration rolled back");
            var running = await stage.RunningAsync(Limit, cancellation);
            clock.Reach(Back);
            // What was told until now may have been counted before the kill; the next count is of a moment after the rollback.
            var counted = await stage.UntilAsync(
                stage.ClaimAsync,
                seen => seen.Workload is { } workload && workload.Steps > running.Workload!.Steps,
                $"Claim {running.Id} tells of no more steps since its migration was rolled back",
                Limit,
                cancellation);
            return (ended, running, counted, clock.Stop(DemoNames.HostA, Back));
        });
        stage.Record.Add(migration);
        stage.Record.Add(failover);
        ReportView.Show(stage.Screen, failover);
        stage.Require(
            $"{migration.Id} rolled back to {DemoNames.HostB}",
            migration.Outcome == "rolled-back" && claim.Host == DemoNames.HostB,
            MigrationChecks.Ending(migration, claim));
        WorkloadChecks.NeverStoppedForLonger(stage, $"{DemoNames.HostB} went on through the kill of its target", before, later);
        await BringBackAsync(stage, cancellation);
    }

    private static async Task BringBackAsync(Stage stage, CancellationToken cancellation)
    {
        await stage.Screen.ShowAsync(async board =>
        {
            stage.Fabric.Restart(DemoNames.HostA, inPlace: false);
            board.Set(DemoNames.HostA, null, "starting again", "with fresh devices");
            await stage.Fabric.ReadyAsync(DemoNames.HostA, cancellation);
            board.Set(DemoNames.HostA, null, "ready");
            return await stage.UntilAsync(
                async token => (await stage.Api.HostsAsync(token)).Value.Items,
                hosts => hosts.Any(host => host is { Name: DemoNames.HostA, State: "up" }),
                $"{DemoNames.HostA} is not up again",
                Limit,
                cancellation,
                hosts => board.Set(DemoNames.HostA, IsUp(hosts) ? 1 : null, IsUp(hosts) ? "up again" : "ready"));
        });

        static bool IsUp(IReadOnlyList<HostResource> hosts) => hosts.Any(host => host is { Name: DemoNames.HostA, State: "up" });
    }
}
