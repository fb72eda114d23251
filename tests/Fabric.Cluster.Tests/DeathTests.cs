using System.Diagnostics;
using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>Processes are killed or stopped in the middle of things; what the claim then says and does, whatever its journal is on.</summary>
public abstract class DeathTests(MendedFabric mended)
{
    [Fact]
    public async Task A_target_that_is_killed_in_the_pre_copy_leaves_the_claim_running_on_its_source()
    {
        var fabric = await mended.WholeAsync();
        await fabric.ClaimRunningAsync("stays", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("stays", "host-b");
        await fabric["host-b"].KillAsync();
        var ended = await fabric.MigrationAsync("stays.1", migration => migration.Outcome is not null, "over");
        var steps = (await fabric.ClaimAsync("stays")).Workload!.Steps;
        var after = await fabric.ClaimAsync("stays", claim => claim.Workload!.Steps > steps, "working");
        var verified = await fabric.RunAsync("claim", "verify", "stays");

        Assert.Equal("rolled-back", ended.Outcome);
        Assert.NotNull(ended.Reason);
        Assert.Equal(("running", "host-a"), (after.Phase, after.Host));
        Assert.Equal((0, 0), (after.Workload!.Lost, after.Workload.Repeated));
        Assert.True(verified.ExitCode == 0, verified.ToString());
    }

    [Fact]
    public async Task A_source_that_is_killed_in_the_pre_copy_is_waited_for_and_the_claim_fails_when_it_comes_back_without_its_device()
    {
        var fabric = await mended.WholeAsync();
        await fabric.ClaimRunningAsync("waits", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("waits", "host-b");
        await fabric["host-a"].KillAsync();
        await fabric.HostAsync("host-a", host => host.State == "down", "put out of the fabric");
        var waiting = await fabric.ClaimAsync("waits", claim => claim.Message?.Contains("host-a was lost", StringComparison.Ordinal) == true, "waiting");
        // The target gives back what it had reserved: nothing of the claim is left there to start.
        await fabric.HostAsync("host-b", host => host.Free == DaemonSettings.VirtualFunctions, "free of the claim");
        var shown = await fabric.RunAsync("claim", "show", "waits");
        await fabric.RestartAsync("host-a");
        var failed = await fabric.ClaimAsync("waits", claim => claim.Phase == "failed", "given up");
        await fabric.ReleaseAsync("waits");

        Assert.Equal("host-a", waiting.Host);
        Assert.NotEqual("running", waiting.Phase);
        Assert.Contains("not started anywhere else", string.Join(' ', shown.Out.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        Assert.Contains("earlier life of its daemon", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_control_node_that_is_killed_in_the_pre_copy_and_started_again_finishes_the_migration()
    {
        var fabric = await mended.WholeAsync();
        await fabric.ClaimRunningAsync("resumed", "host-a", memoryMib: 16);
        // A control node that has just started is slow at its first stop: how long that takes is the demo's to measure.
        await fabric.MigratingSlowlyAsync("resumed", "host-b", mibPerSecond: 3, downtimeMs: 10_000);
        await fabric.Control.KillAsync();
        await fabric.RestartAsync("control");
        await fabric.Control.ReadyAsync();
        var ended = await fabric.MigrationAsync("resumed.1", migration => migration.Outcome is not null, "over");
        var after = await fabric.ClaimAsync("resumed", claim => claim is { Phase: "running", Workload: not null }, "running");
        var verified = await fabric.RunAsync("claim", "verify", "resumed");

        Assert.True(ended.Outcome == "committed", $"{ended.Outcome}: {ended.Reason}");
        Assert.Equal("host-b", after.Host);
        Assert.Equal((0, 0), (after.Workload!.Lost, after.Workload.Repeated));
        Assert.True(verified.ExitCode == 0, verified.ToString());
    }

    [Fact]
    public async Task A_claim_whose_device_died_with_its_host_fails_with_that_reason_once_the_host_is_back()
    {
        var fabric = await mended.WholeAsync();
        await fabric.ClaimRunningAsync("orphan", "host-a");
        await fabric["host-a"].KillAsync();
        await fabric.RestartAsync("host-a");
        await fabric["host-a"].ReadyAsync();
        var failed = await fabric.ClaimAsync("orphan", claim => claim.Phase == "failed", "given up");
        var verified = await fabric.RunAsync("claim", "verify", "orphan");

        Assert.Contains("The state of the device died with it.", failed.Message, StringComparison.Ordinal);
        Assert.Equal((1, "Claim orphan is failed; it can be verified while it is running."), (verified.ExitCode, verified.Sentence));
    }
}

[Collection(SqliteFabric.Name)]
public sealed class DeathsOnSqliteTests(SqliteFabric mended) : DeathTests(mended)
{
    [Fact]
    public async Task A_control_node_that_left_in_good_order_and_is_started_again_has_its_hosts_and_their_claims_back()
    {
        var fabric = await mended.WholeAsync();
        await fabric.ClaimRunningAsync("kept", "host-a");
        // Nobody is unreachable: what is left is a cluster of a host alone, in good health.
        await fabric.Control.TerminateAsync();
        await fabric.RestartAsync("control");
        await fabric.Control.ReadyAsync();

        var after = await fabric.RunsOnAsync("kept", "host-a");

        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
    }

    [Fact]
    public async Task A_host_that_is_told_to_end_leaves_in_good_order()
    {
        var fabric = await mended.WholeAsync();
        var ending = await fabric["host-b"].TerminateAsync();
        // Well before the failure detector and downing, some seven seconds, could have put it out.
        var started = Stopwatch.GetTimestamp();
        await fabric.HostAsync("host-b", host => host.State == "down", "out of the fabric");
        var took = Stopwatch.GetElapsedTime(started);

        Assert.Equal((0, ""), (ending.ExitCode, ending.Error));
        Assert.True(took < TimeSpan.FromSeconds(4), $"it was still a member {took.TotalSeconds:0.0} s after its end");
        Assert.False(File.Exists(Path.Combine(fabric["host-b"].Settings.DataDirectory, "endpoints.json")), "its addresses are still on disk");
    }

    [Fact]
    public async Task A_request_that_no_control_node_answers_in_time_exits_4()
    {
        var fabric = await mended.WholeAsync();
        await fabric.Control.KillAsync();
        var ending = await TestFabric.RunAtAsync(fabric["host-a"], "claim", "show", "anything");
        Assert.Equal(4, ending.ExitCode);
        Assert.StartsWith("Claim anything did not answer in time;", ending.Sentence, StringComparison.Ordinal);
    }
}

public sealed class DeathsOnPostgreSqlTests(PostgreSqlFabric mended) : DeathTests(mended), IClassFixture<PostgreSqlFabric>;
