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

    [Fact]
    public async Task A_leased_host_that_stood_still_past_its_lease_has_stopped_its_function_when_it_goes_on()
    {
        var fabric = await mended.WholeAsync();
        var created = await fabric.RunAsync(
            "claim", "create", "leased", "--host", "host-a", "--on-host-loss", "restart", "--lease-seconds", "10", "--memory-mib", "1",
            "--steps-per-second", "2000", "--wait");
        Assert.True(created.ExitCode == 0, created.ToString());
        var before = await fabric.ClaimAsync("leased", claim => claim is { Phase: "running", Workload.Steps: > 0 }, "working");
        fabric["host-a"].Pause();
        var elsewhere = await fabric.ClaimAsync(
            "leased", claim => claim is { Phase: "running", Workload.Steps: > 0 } && claim.Host != "host-a", "started afresh on another host");
        fabric["host-a"].Continue();

        // It heard of none of this, and closes by its own clock.
        await fabric.HostAsync("host-a", host => host is { State: "up", Free: DaemonSettings.VirtualFunctions }, "a member again, with its function given back");
        var after = await fabric.RunsOnAsync("leased", elsewhere.Host!);
        var history = await fabric.RunAsync("device", "history", $"host-a/{before.Device}");

        Assert.True(after.Generation > before.Generation, $"generation {after.Generation} follows {before.Generation}");
        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
        Assert.Contains("closed", history.Out, StringComparison.Ordinal);
    }
}
