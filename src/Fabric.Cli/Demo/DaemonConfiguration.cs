using System.Text.Json;

namespace Fabric.Cli.Demo;

/// <summary>What one daemon's <c>fabricd.json</c> says.</summary>
/// <param name="Seeds">Cluster addresses to join at; none founds the cluster.</param>
/// <param name="ClusterPort">0 lets the system choose; so too <paramref name="Api"/>'s port.</param>
/// <param name="Journal">PostgreSQL connection string; empty is SQLite in the data directory.</param>
internal sealed record DaemonConfiguration(
    string Name, string Role, string DataDirectory, IReadOnlyList<string> Seeds, int ClusterPort, string Api, string Journal,
    string StateSize)
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public string ToJson() => JsonSerializer.Serialize(
        new
        {
            Node = new { Name, Roles = new[] { Role }, DataDirectory },
            Cluster = new { Address = "127.0.0.1", Port = ClusterPort, Seeds },
            Api = new { Url = Api },
            DataPlane = new { Address = "127.0.0.1", Port = 0 },
            Journal = new { Connection = Journal },
            Hardware = new
            {
                Emulated = new { Accelerators = 1, FunctionsPerAccelerator = 4, StateSize },
                Linux = new { Enabled = true, Sysfs = "/sys" },
            },
        },
        Format);
}
