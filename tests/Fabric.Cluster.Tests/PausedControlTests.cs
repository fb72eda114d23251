using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>One of several control nodes stands still, and goes on when another has its claims.</summary>
public sealed class PausedControlTests(PrivatePostgres postgres)
{
    [Fact]
    public async Task A_control_node_that_stood_still_while_another_ended_its_migration_changes_nothing_when_it_goes_on()
    {
        await using var fabric = await TestFabric.StartAsync(hosts: 2, journal: await postgres.NewDatabaseAsync(), controls: 3);
        await fabric.ClaimRunningAsync("shifted", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("shifted", "host-b", mibPerSecond: 2);
        var coordinator = (await fabric.ClaimAsync("shifted")).Coordinator!;
        var other = fabric.Daemons.First(daemon => daemon.Settings.Role == "control" && daemon.Name != coordinator);
        fabric[coordinator].Pause();
        var ended = await TestFabric.MigrationAtAsync(other, "shifted.1", migration => migration.Outcome is not null, "over");
        fabric[coordinator].Continue();
        await fabric[coordinator].ReadyAsync();

        // A stop that was begun before may have passed its limit meanwhile: either way the other node's word stands.
        var after = await fabric.RunsOnAsync("shifted", ended.Outcome == "committed" ? "host-b" : "host-a");

        Assert.Equal(ended.Outcome, Assert.Single(after.Migrations).Outcome);
        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
    }
}
