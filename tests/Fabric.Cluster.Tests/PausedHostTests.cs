using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>A process that stands still is thought dead, and then goes on as if nothing had happened: nothing that it does late may count.</summary>
[Collection(SqliteFabric.Name)]
public sealed class PausedHostTests(SqliteFabric mended)
{
    [Fact]
    public async Task A_source_that_was_put_out_while_it_stood_still_goes_on_with_its_claim_and_no_step_is_missing()
    {
        var fabric = await mended.WholeAsync();
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
}
