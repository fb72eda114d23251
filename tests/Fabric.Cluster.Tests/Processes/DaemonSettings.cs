using System.Text.Json;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>What a daemon's file of settings says; ports are the system's to choose unless a test needs one that is taken.</summary>
/// <param name="Seeds">Cluster addresses to join at; none founds a fabric.</param>
internal sealed record DaemonSettings(string Name, string Role, string DataDirectory, params string[] Seeds)
{
    public const int VirtualFunctions = 4;
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public int ClusterPort { get; init; }

    public string Api { get; init; } = "http://127.0.0.1:0";

    /// <summary>When a reset counts as hung; null for the daemon's own default.</summary>
    public string? SlowCallDeadline { get; init; }

    /// <summary>Device state of each function.</summary>
    public string StateSize { get; init; } = "256KiB";

    public int Accelerators { get; init; } = 1;

    public string[] WithoutDrivers { get; init; } = [];

    public string ToJson() => JsonSerializer.Serialize(
        new
        {
            Node = new { Name, Roles = new[] { Role }, DataDirectory },
            Cluster = new { Address = "127.0.0.1", Port = ClusterPort, Seeds },
            Api = new { Url = Api },
            DataPlane = new { Address = "127.0.0.1", Port = 0 },
            Devices = SlowCallDeadline is null ? new object() : new { SlowCallDeadline },
            Hardware = new
            {
                Emulated = new { Accelerators, FunctionsPerAccelerator = VirtualFunctions, StateSize },
                Linux = new { Enabled = false },
                WithoutDrivers,
            },
        },
        Format);
}
