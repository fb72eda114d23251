using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>
/// One of several control nodes stands still or is started again, and the others have its claims meanwhile. A fabric for each: one that stood still has
/// seen every host away, which the breaker counts.
/// </summary>
public sealed class SeveralControlsTests(PrivatePostgres postgres)
{
    [Fact]
    public async Task Every_daemon_is_started_again_one_after_the_other_and_the_claim_works_on()
    {
        await using var fabric = await TestFabric.StartAsync(hosts: 2, journal: await postgres.NewDatabaseAsync(), controls: 3);
        await fabric.ClaimRunningAsync("steady", "host-a");
        foreach (var name in fabric.Daemons.Where(daemon => daemon.Settings.Role == "control").Select(daemon => daemon.Name).ToArray())
        {
            var ended = await fabric[name].TerminateAsync();
            Assert.True(ended.ExitCode == 0, ended.ToString());
            var other = fabric.Daemons.First(daemon => daemon.Settings.Role == "control" && daemon.Name != name);
            var shown = await Poll.UntilAsync(
                $"{other.Name} to show the claim", () => TestFabric.RunAtAsync(other, "claim", "show", "steady"), ending => ending.ExitCode == 0);
            Assert.Contains("running", shown.Out, StringComparison.Ordinal);
            await (await fabric.RestartAsync(name)).ReadyAsync();
        }

        var kept = await fabric.RunsOnAsync("steady", "host-a");
        // A daemon has the devices of its host: that is emptied first.
        var from = "host-a";
        foreach (var to in new[] { "host-b", "host-a" })
        {
            await SaidAsync(fabric, "host", "drain", from);
            await fabric.HostAsync(from, host => host is { Drain.State: "drained", Free: DaemonSettings.VirtualFunctions }, "drained and empty");
            Assert.Equal(0, (await fabric[from].TerminateAsync()).ExitCode);
            await (await fabric.RestartAsync(from)).ReadyAsync();
            await SaidAsync(fabric, "host", "undrain", from);
            from = to;
        }

        var after = await fabric.RunsOnAsync("steady", "host-a");
        Assert.Equal((kept.Generation + 2, 2), (after.Generation, after.Migrations.Count(migration => migration.Outcome == "committed")));
        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
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

    /// <summary>Who keeps the moves may be on its way from one control node to another, and is asked again then.</summary>
    private static Task<Ending> SaidAsync(TestFabric fabric, params string[] command) => Poll.UntilAsync(
        $"'fabric {string.Join(' ', command)}' to be accepted", () => fabric.RunAsync(command), static ending => ending.ExitCode == 0);
}
