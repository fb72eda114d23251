using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>
/// A network of its own: a bridge that these tests are on, and for each daemon a namespace with a cable to it, which can be pulled. Packets are lost
/// then, and nobody is told: a connection does not end, it falls silent.
/// </summary>
internal sealed class NetworkLab : IAsyncDisposable
{
    private readonly string id = $"{Environment.ProcessId % 100_000}";
    private readonly string subnet = $"10.213.{Environment.ProcessId % 250}";
    private readonly List<string> names = [];

    private string Bridge => $"fb{id}";

    /// <summary>Why a machine cannot have one; null where it can.</summary>
    public static string? WhyNot => !RuntimeInformation.IsOSPlatform(OSPlatform.Linux) ? "Network namespaces are Linux's."
        : !Environment.IsPrivilegedProcess ? "Network namespaces are root's to make."
        : Try("ip", "netns", "list") is null ? null
        : "There is no 'ip netns' here; install iproute2.";

    public static async Task<NetworkLab> StartAsync()
    {
        var lab = new NetworkLab();
        try
        {
            await IpAsync("link", "add", lab.Bridge, "type", "bridge");
            await IpAsync("addr", "add", $"{lab.subnet}.1/24", "dev", lab.Bridge);
            await IpAsync("link", "set", lab.Bridge, "up");
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    /// <summary>The settings of a daemon that is run there.</summary>
    public async Task<DaemonSettings> PlugInAsync(DaemonSettings settings)
    {
        names.Add(settings.Name);
        var (space, cable, address) = (SpaceOf(settings.Name), CableOf(settings.Name), $"{subnet}.{10 + names.Count}");
        await IpAsync("netns", "add", space);
        await IpAsync("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space);
        await IpAsync("link", "set", cable, "master", Bridge, "up");
        await IpAsync("-n", space, "addr", "add", $"{address}/24", "dev", "eth0");
        await IpAsync("-n", space, "link", "set", "eth0", "up");
        await IpAsync("-n", space, "link", "set", "lo", "up");
        return settings with { Address = address, Namespace = space };
    }

    public Task CutOffAsync(string name) => IpAsync("link", "set", CableOf(name), "nomaster");

    /// <summary>As it was; of one that was not cut off nothing changes.</summary>
    public Task ReconnectAsync(string name) => IpAsync("link", "set", CableOf(name), "master", Bridge);

    public async ValueTask DisposeAsync()
    {
        // A cable goes with its namespace.
        foreach (var name in names)
            await RunAsync("ip", "netns", "del", SpaceOf(name));
        await RunAsync("ip", "link", "del", Bridge);
    }

    private string SpaceOf(string name) => $"fabric-{id}-{name}";

    private string CableOf(string name) => $"fb{id}v{names.IndexOf(name)}";

    private static async Task IpAsync(params string[] arguments)
    {
        if (await RunAsync("ip", arguments) is { } failed)
            Assert.Fail($"ip {string.Join(' ', arguments)}: {failed}");
    }

    /// <summary>What it complained of; null where it ended well.</summary>
    private static async Task<string?> RunAsync(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        var complained = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? null : complained.Trim();
    }

    private static string? Try(string program, params string[] arguments)
    {
        try
        {
            using var process = Start(program, arguments);
            var complained = process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? null : complained;
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            return missing.Message;
        }
    }

    private static Process Start(string program, string[] arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
}
