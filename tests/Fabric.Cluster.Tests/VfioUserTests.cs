using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>A device in a process of its own, which a daemon uses like any other, whatever becomes of that process.</summary>
[Collection(SqliteFabric.Name)]
public sealed class VfioUserTests(SqliteFabric mended)
{
    private const string Host = "host-u";
    private const string Address = "fabe:00:01.0";
    private const string Id = $"{Host}/{Address}";

    [Fact]
    public async Task A_served_device_is_listed_shown_and_reset_and_comes_back_with_its_server()
    {
        var fabric = await mended.WholeAsync();
        var socket = fabric.PathOf("accelerator.socket");
        await LaunchAsync(fabric, Host, socket);
        await using (var first = await ServeAsync(socket))
        {
            var device = await DeviceAsync(fabric, static device => device is { Health: "Healthy" });
            Assert.Equal(("vfio-user", "vfio-user"), (device!.Driver, device.Model));
            Assert.Contains(Id, (await RunAsync(fabric, "device", "list")).Out, StringComparison.Ordinal);
            Assert.Contains("its bus asks for it", (await RunAsync(fabric, "device", "show", Id)).Out, StringComparison.Ordinal);
            await RunAsync(fabric, "device", "reset", Id);
            await first.KillAsync();
        }

        await DeviceAsync(fabric, static device => device is null);
        // The dead one's socket is in the way of nobody.
        Assert.True(Path.Exists(socket));
        await using var second = await ServeAsync(socket);
        await DeviceAsync(fabric, static device => device is { Health: "Healthy" });
        await RunAsync(fabric, "device", "reset", Id);
        Assert.Contains("pulled-out", (await RunAsync(fabric, "device", "history", Id)).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_claim_of_a_served_device_moves_with_its_state_to_one_that_another_process_serves()
    {
        const string target = "host-v";
        var fabric = await mended.WholeAsync();
        var (socket, other) = (fabric.PathOf("here.socket"), fabric.PathOf("there.socket"));
        await using var here = await ServeAsync(socket);
        await using var there = await ServeAsync(other);
        await LaunchAsync(fabric, Host, socket);
        await DeviceAsync(fabric, static device => device is { Health: "Healthy" });
        await Poll.UntilAsync(
            "a claim that can be made",
            () => fabric.RunAsync("plan", "claim", "create", "served", "--model", "vfio-user"),
            static ending => ending.ExitCode == 0);
        await RunAsync(fabric, "claim", "create", "served", "--model", "vfio-user", "--wait");
        await LaunchAsync(fabric, target, other);
        await Poll.UntilAsync(
            "a migration that can be planned", () => fabric.RunAsync("plan", "migrate", "served", "--to", target), static ending => ending.ExitCode == 0);
        await RunAsync(fabric, "migrate", "served", "--to", target, "--downtime-ms", "10000", "--watch");
        await Poll.UntilAsync(
            "the claim to run there",
            () => fabric.Http.GetAsync("api/v1/claims/served"),
            reply => reply.Status == 200 && reply.As<ClaimResource>() is { Host: target, Phase: "running" });
        // With its process its state is lost: the claim is not started afresh unless it says so.
        await there.KillAsync();
        await Poll.UntilAsync(
            "the claim to be stopped",
            () => fabric.Http.GetAsync("api/v1/claims/served"),
            reply => reply.Status == 200 && reply.As<ClaimResource>() is { DeviceFailure.Outcome: "stopped" });
    }

    [Fact]
    public async Task A_device_of_one_host_is_served_by_its_daemon_and_used_by_another()
    {
        var fabric = await mended.WholeAsync();
        var socket = fabric.PathOf("shared.socket");
        await LaunchAsync(fabric, Host, socket);
        var plan = await RunAsync(fabric, "plan", "serve", "host-a/fab0:01:00.1", "--socket", socket);
        Assert.Contains("would be served on", plan.Out, StringComparison.Ordinal);
        await RunAsync(fabric, "serve", "host-a/fab0:01:00.1", "--socket", socket);
        await DeviceAsync(fabric, static device => device is { Health: "Healthy", Driver: "vfio-user" });
        var listed = await RunAsync(fabric, "serve", "--list", "host-a");
        Assert.Contains($"host-a/fab0:01:00.1  {socket}  a request        1", listed.Out, StringComparison.Ordinal);
        await RunAsync(fabric, "device", "reset", Id);
        await RunAsync(fabric, "serve", "host-a/fab0:01:00.1", "--end");
        await DeviceAsync(fabric, static device => device is null);
        Assert.False(Path.Exists(socket));
        var gone = await fabric.RunAsync("serve", "host-a/fab0:01:00.1", "--end");
        Assert.Equal("fab0:01:00.1 is not served by this host; list its sockets.", gone.Sentence);
    }

    /// <summary>As <c>fabric serve --emulated</c> runs it; what is killed is who has the device.</summary>
    private static async Task<RunningProcess> ServeAsync(string socket)
    {
        var serving = RunningProcess.Start(
            Executables.Fabricd, ["serve", "--emulated", "accelerator", "--socket", socket, "--exit-on-stdin-close"]);
        await Poll.UntilAsync($"{socket} to be served", () => Task.FromResult(serving.Out), said => said.Contains(socket, StringComparison.Ordinal));
        return serving;
    }

    private static async Task LaunchAsync(TestFabric fabric, string name, string socket)
    {
        fabric.Launch(new DaemonSettings(name, "host", fabric.PathOf(name), fabric.Control.Endpoints.Cluster)
        {
            Accelerators = 0, Served = [(Address, socket)],
        });
        await fabric[name].ReadyAsync();
    }

    private static async Task<Ending> RunAsync(TestFabric fabric, params string[] arguments)
    {
        var ending = await fabric.RunAsync(arguments);
        Assert.True(ending.ExitCode == 0, ending.ToString());
        return ending;
    }

    /// <summary>As the control node sees it, which places claims by that.</summary>
    private static async Task<DeviceResource?> DeviceAsync(TestFabric fabric, Func<DeviceResource?, bool> holds) => (await Poll.UntilAsync(
        $"{Id} to be as it should",
        async () =>
        {
            var reply = await fabric.Http.GetAsync($"api/v1/devices?host={Host}");
            return (reply, Device: reply.Status == 200 ? reply.As<ListResource<DeviceResource>>().Items.SingleOrDefault() : null);
        },
        seen => seen.reply.Status == 200 && holds(seen.Device),
        seen => $"{seen.reply.Body}\n{fabric[Host].Tail}")).Device;
}
