
namespace Fabric.Cli.Demo.Acts;

/// <summary>The claim moves from host-a to host-b and nothing goes wrong.</summary>
internal static class CleanMigrationAct
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(180);

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        stage.Screen.Heading($"Migration to {DemoNames.HostB} while the workload runs");
        var (migration, claim) = await stage.Screen.ShowAsync(async board =>
        {
            await using var ticker = new WorkloadTicker(board, stage.Api, stage.Options.Claim, stage.Time, cancellation);
            var started = await stage.MigrateAsync(DemoNames.HostB, null, cancellation);
            var ended = await stage.EndOfAsync(board, started.Id, Limit, cancellation);
            return (ended, await stage.RunningAsync(Limit, cancellation));
        });
        stage.Record.Add(migration);
        ReportView.ShowDowntime(stage.Screen, migration);
        stage.Require(
            $"{migration.Id} committed on {DemoNames.HostB}",
            migration.Outcome == "committed" && claim.Host == DemoNames.HostB,
            MigrationChecks.Ending(migration, claim));
        MigrationChecks.Committed(stage, migration);
    }
}
