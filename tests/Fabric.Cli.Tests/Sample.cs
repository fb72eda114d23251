using Fabric.Node.Api;

namespace Fabric.Cli.Tests;

/// <summary>Resources as a daemon would send them.</summary>
internal static class Sample
{
    public static readonly DateTimeOffset Noon = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public static HostResource Host(string name = "host-a") =>
        new(name, "up", "127.0.0.1:4001", "http://127.0.0.1:5001", "0.1.0", 9, 4, 3);

    public static DeviceResource Device(string host = "host-a", string address = "0000:3b:00.2") => new(
        $"{host}/{address}", host, address, "1d0f:efa1", "accelerator-vf", "emulated", "accelerator", "open", "Healthy", null, null, "RUNNING",
        "db-1", 64 << 20, 7, "0000:3b:00.0", 0, ["flr"]);

    public static DeviceResource SickDevice() => Device() with
    {
        State = "quarantined", Health = "Unhealthy", Reason = "it hangs in reset by flr", WayBack = "Wait until it comes back", Claim = null,
    };

    public static DeviceResource RealDevice(string host = "host-a") => new(
        $"{host}/0000:00:1f.2", host, "0000:00:1f.2", "8086:2922", null, "physical", "ahci", "inventory", "Unknown", null, null, null, null,
        null, null, null, 0, []);

    public static ClaimResource Claim(string phase = "running", string? message = null) => new(
        "db-1", "accelerator-vf", phase, "host-a", "0000:3b:00.2", 3, "control", null, message, Noon,
        new WorkloadResource(123456, 0, 0, 0, 12.5), []);

    public static MigrationResource Migration(
        string phase = "pre-copy", string? outcome = null, string? reason = null, long bytes = 32 << 20) => new(
        "db-1.1", "db-1", "host-a", "host-b", phase, outcome, reason, Noon, 4200, outcome == "committed" ? 41.25 : null, 300, bytes,
        16 << 20, 160.4, 2, outcome == "committed", outcome == "committed" ? "9f1c" : null,
        [new PhaseResource("pre-copy", 4100, false), new PhaseResource("stop-copy", 41.25, true)], "cli");

    public static ListResource<T> List<T>(params T[] items) => new(items);

    public static ProblemResource Problem(int status, string code, string detail) =>
        new("about:blank", "Refused", status, detail, code);
}
