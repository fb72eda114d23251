using System.Globalization;
using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>
/// A long run, and so only where <c>FABRIC_FAULT_MIGRATIONS</c> says how many; <c>FABRIC_FAULT_SEED</c> replays the faults of a run. A short one is in
/// <see cref="RecordedRunTests"/>.
/// </summary>
public sealed class FaultRunTests(PrivatePostgres postgres, ITestOutputHelper output)
{
    [Theory]
    [InlineData(JournalKind.Sqlite)]
    [InlineData(JournalKind.PostgreSql)]
    public async Task Whatever_is_killed_or_paused_the_claim_ends_on_one_host_and_no_step_is_lost(JournalKind kind)
    {
        if (FromEnvironment("FABRIC_FAULT_MIGRATIONS") is not { } migrations)
        {
            Assert.Skip("A long run: set FABRIC_FAULT_MIGRATIONS to the number of migrations, such as 100.");
            return;
        }

        var seed = FromEnvironment("FABRIC_FAULT_SEED") ?? Random.Shared.Next();
        output.WriteLine($"FABRIC_FAULT_SEED={seed}, {migrations} migrations on {kind}");
        var random = new Random(seed);
        await using var fabric = await FaultRun.StartAsync(await postgres.JournalAsync(kind));
        var run = new FaultRun(fabric, random, output.WriteLine);
        await run.BeginAsync();
        // Each fault comes once before any comes twice.
        var faults = new Queue<MigrationFault>();
        for (var number = 1; number <= migrations; number++)
        {
            if (faults.Count == 0)
            {
                var all = Enum.GetValues<MigrationFault>();
                random.Shuffle(all);
                faults = new Queue<MigrationFault>(all);
            }

            await run.MigrateAsync(faults.Dequeue());
        }

        output.WriteLine(run.Summary);
    }

    private static int? FromEnvironment(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
}
