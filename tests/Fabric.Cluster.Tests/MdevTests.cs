using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>Mediated devices of a host in a process of its own, by the command line, whatever becomes of that process.</summary>
[Collection(SqliteFabric.Name)]
public sealed class MdevTests(SqliteFabric mended)
{
    private const string Host = "host-m";
    private const string Serial = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
    private const string Display = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002";
    private const string Manual = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003";

    [Fact]
    public async Task A_host_that_is_killed_has_its_mediated_devices_again_and_leaves_alone_what_it_cannot_use()
    {
        var fabric = await mended.WholeAsync();
        var settings = new DaemonSettings(Host, "host", fabric.PathOf(Host), fabric.Control.Endpoints.Cluster);
        fabric.Launch(settings with { Accelerators = 0, MdevParents = ["mtty", "mdpy"] });
        await fabric[Host].ReadyAsync();
        await RunAsync(fabric, "define", Host, "mtty", "mtty-2", "--uuid", Serial, "--auto");
        await RunAsync(fabric, "define", Host, "mdpy", "mdpy-hd", "--uuid", Display, "--auto");
        await RunAsync(fabric, "define", Host, "mtty", "mtty-1", "--uuid", Manual);
        foreach (var uuid in (string[])[Serial, Display, Manual])
            await RunAsync(fabric, "start", $"{Host}/{uuid}");
        var before = await DevicesAsync(fabric, 3);

        await fabric[Host].KillAsync();
        var foreign = Path.Combine(fabric.PathOf(Host), "mdev.d", "mtty", "README");
        await File.WriteAllTextAsync(foreign, "not a definition", TestContext.Current.CancellationToken);
        await fabric.RestartAsync(Host);
        await fabric[Host].ReadyAsync();

        // The two that are to start with the host, each where it was, and not the third.
        var after = await DevicesAsync(fabric, 2);
        Assert.Equal(before.Where(device => device.MdevUuid != Manual).Select(Named), after.Select(Named));
        var shown = await fabric.RunAsync("device", "show", after.Single(device => device.MdevUuid == Serial).Id);
        Assert.Contains($"mdev UUID        {Serial}", shown.Out, StringComparison.Ordinal);
        var listed = await Poll.UntilAsync(
            $"{Manual} to be listed, and not started",
            () => fabric.RunAsync("mdev", "list", Host),
            ending => ending.Out.Contains($"{Manual}  mtty    mtty-1   manual  stopped", StringComparison.Ordinal));
        Assert.Contains("README: its name is no UUID in lowercase", listed.Out, StringComparison.Ordinal);
        Assert.Equal("not a definition", await File.ReadAllTextAsync(foreign, TestContext.Current.CancellationToken));
        // What is forgotten stays forgotten.
        await RunAsync(fabric, "stop", $"{Host}/{Serial}");
        await RunAsync(fabric, "undefine", $"{Host}/{Serial}");
        await fabric[Host].KillAsync();
        await fabric.RestartAsync(Host);
        await fabric[Host].ReadyAsync();
        var last = await Poll.UntilAsync(
            $"{Display} to be started again",
            () => fabric.RunAsync("mdev", "list", Host),
            ending => ending.Out.Contains($"{Display}  mdpy    mdpy-hd  auto    started", StringComparison.Ordinal));
        Assert.DoesNotContain(Serial, last.Out, StringComparison.Ordinal);
    }

    private static string Named(DeviceResource device) => $"{device.Id} {device.MdevUuid} {device.Driver} {device.Health}";

    private static async Task RunAsync(TestFabric fabric, params string[] arguments)
    {
        var ending = await fabric.RunAsync(["mdev", .. arguments]);
        Assert.True(ending.ExitCode == 0, ending.ToString());
    }

    private static async Task<IReadOnlyList<DeviceResource>> DevicesAsync(TestFabric fabric, int count) => (await Poll.UntilAsync(
        $"{Host} to have {count} devices, probed",
        () => fabric[Host].Http.GetAsync($"api/v1/devices?host={Host}"),
        reply => reply.Status == 200 && Items(reply) is { } items && items.Count == count && items.All(device => device.Health == "Healthy"),
        reply => $"{reply.Body}\n{fabric[Host].Tail}")).As<ListResource<DeviceResource>>().Items;

    private static IReadOnlyList<DeviceResource> Items(Reply reply) => reply.As<ListResource<DeviceResource>>().Items;
}
