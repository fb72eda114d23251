using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>
/// A process that stands still is thought dead, and then goes on as if nothing had happened: nothing that it does late may count. A fabric for each.
/// </summary>
public sealed class PausedProcessTests(PrivatePostgres postgres)
{
    [Fact]
    public async Task A_source_that_was_put_out_while_it_stood_still_goes_on_with_its_claim_and_no_step_is_missing()
    {
        await using var fabric = await TestFabric.StartAsync(hosts: 2);
        await fabric.ClaimRunningAsync("sleeper", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("sleeper", "host-b");
        fabric["host-a"].Pause();
        await fabric.HostAsync("host-a", host => host.State == "down", "put out of the fabric");
        await fabric.ClaimAsync("sleeper", claim => claim.Message?.Contains("host-a was lost", StringComparison.Ordinal) == true, "waiting");
        fabric["host-a"].Continue();
        await fabric.HostAsync("host-a", host => host.State == "up", "a member again");
        // The transfer has outlived it, or it has not: either way it ends now.
        await fabric.RunAsync("migration", "cancel", "sleeper.1");

        var ended = await fabric.MigrationAsync("sleeper.1", migration => migration.Outcome is not null, "over");
        var after = await fabric.RunsOnAsync("sleeper", "host-a");

        Assert.Contains(ended.Outcome, (string[])["cancelled", "rolled-back"]);
        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
        await fabric.HostAsync("host-b", host => host.Free == DaemonSettings.VirtualFunctions, "free of the claim");
    }

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
