using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>A host that is emptied while the control node is killed in the middle of it.</summary>
[Collection(SharedFabric.Name)]
public sealed class DrainTests(SharedFabric shared)
{
    [Fact]
    public async Task A_drain_survives_the_death_of_the_control_node_and_moves_each_claim_once()
    {
        var fabric = shared.Fabric;
        string[] claims = ["c1", "c2", "c3"];
        foreach (var claim in claims)
            await fabric.ClaimRunningAsync(claim, "host-a");
        var asked = await fabric.Http.PostAsync("api/v1/hosts/host-a/drain");
        Assert.True(asked.Status == 200, asked.ToString());
        await MovingAsync(fabric);

        await fabric.Control.KillAsync();
        var control = await fabric.RestartAsync("control");
        await control.ReadyAsync();

        await fabric.HostAsync("host-a", host => host is { Drain.State: "drained", Free: DaemonSettings.VirtualFunctions }, "drained and empty");
        foreach (var id in claims)
        {
            var claim = await fabric.ClaimAsync(id, known => known.Phase == "running", "running");
            Assert.NotEqual("host-a", claim.Host);
            Assert.Single(claim.Migrations, migration => migration.Outcome == "committed");
            var verified = await fabric.RunAsync("claim", "verify", id);
            Assert.True(verified.ExitCode == 0, verified.ToString());
        }

        var refused = await fabric.RunAsync("claim", "create", "late", "--host", "host-a");
        Assert.Equal(3, refused.ExitCode);
        Assert.Contains("Host host-a is drained", refused.Error, StringComparison.Ordinal);

        var opened = await fabric.RunAsync("host", "undrain", "host-a");
        Assert.True(opened.ExitCode == 0, opened.ToString());
        await fabric.ClaimRunningAsync("late", "host-a");
        foreach (var id in claims.Append("late"))
            await fabric.ReleaseAsync(id);
    }

    /// <summary>The first of them moves: what is killed now is killed in the middle.</summary>
    private static Task<Reply> MovingAsync(TestFabric fabric) => Poll.UntilAsync(
        "a claim to be moving",
        () => fabric.Http.GetAsync("api/v1/hosts/host-a"),
        reply => reply.Status == 200 && reply.As<HostResource>().Drain?.Claims.Any(claim => claim.State is "moving" or "moved") == true,
        reply => $"{reply}\n{fabric.Control.Tail}");
}
