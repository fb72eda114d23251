using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>The daemons come up as one cluster and say what devices they have.</summary>
internal static class GatheringAct
{
    private static readonly TimeSpan InventoryLimit = TimeSpan.FromSeconds(30);

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        var (controls, hosts) = (stage.Fabric.Controls.Count, stage.Fabric.Hosts.Count);
        stage.Screen.Heading($"Starting {controls} control node{(controls == 1 ? "" : "s")} and {hosts} hosts");
        var found = await stage.Screen.ShowAsync(async board =>
        {
            await stage.Fabric.StartAsync(board, cancellation);
            return await stage.UntilAsync(
                async token => (await stage.Api.HostsAsync(token)).Value.Items,
                seen => seen.Count(host => host is { State: "up", Free: > 0 }) == hosts,
                $"Not all of {string.Join(", ", stage.Fabric.Hosts)} are up with free functions",
                InventoryLimit,
                cancellation);
        });
        var devices = (await stage.Api.DevicesAsync(null, cancellation)).Value.Items;
        Show(stage.Screen, found, devices);
        var emulated = devices.Count(device => device.Kind == "emulated");
        stage.Check("one cluster of all daemons", true, $"{controls + hosts} processes, {emulated} emulated functions");
    }

    private static void Show(Screen screen, IReadOnlyList<HostResource> hosts, IReadOnlyList<DeviceResource> devices)
    {
        var sheet = new Sheet(
            "host", "cluster", "api", Column.OfNumbers("emulated"), Column.OfNumbers("free"), Column.OfNumbers("physical"));
        foreach (var host in hosts)
            sheet.Add(
                new Cell(host.Name, Tone.Strong), host.Address, host.Api, Count(host, "emulated"), Units.Count(host.Free),
                Count(host, "physical"));
        screen.Table(sheet);
        ShowSample("Emulated functions of", devices.Where(device => device.Kind == "emulated").ToList(), 8);
        // All hosts of a demo stand on the same machine and see the same real functions.
        ShowSample("Real functions, as read from sysfs on", devices.Where(device => device.Kind == "physical").ToList(), 4);

        string Count(HostResource host, string kind) =>
            Units.Count(devices.Count(device => device.Host == host.Name && device.Kind == kind));

        void ShowSample(string title, IReadOnlyList<DeviceResource> all, int most)
        {
            if (all.Count == 0)
            {
                screen.Line($"{title} any host: none.", Tone.Quiet);
                return;
            }

            var first = all.Where(device => device.Host == all[0].Host).ToList();
            screen.Line($"{title} {all[0].Host}:", Tone.Quiet);
            var sample = new Sheet("device", "ids", "kind", "driver", "health");
            foreach (var device in first.Take(most))
                sample.Add(
                    device.Id, device.Ids, ResourceViews.Kind(device), device.Driver, ResourceViews.Health(device));
            screen.Table(sample);
            if (first.Count > most)
                screen.Line($"… and {first.Count - most} more.", Tone.Quiet);
        }
    }
}
