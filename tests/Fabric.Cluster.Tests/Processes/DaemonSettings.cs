using System.Text.Json;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>What a daemon's file of settings says; ports are the system's to choose unless a test needs one that is taken.</summary>
/// <param name="Role">Or several, separated by a comma.</param>
/// <param name="Seeds">Cluster addresses to join at; none founds a fabric.</param>
internal sealed record DaemonSettings(string Name, string Role, string DataDirectory, params string[] Seeds)
{
    public const int VirtualFunctions = 4;
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>Where it listens with all that it has. Other than loopback it is told that it may.</summary>
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>The network namespace that it is run in; null for that of the tests.</summary>
    public string? Namespace { get; init; }

    public int ClusterPort { get; init; }

    /// <summary>Connection string of the PostgreSQL that has the journal; null for SQLite.</summary>
    public string? Journal { get; init; }

    /// <summary>Null takes a free port of <see cref="Address"/>.</summary>
    public string? Api { get; init; }

    /// <summary>PEM files; null for a daemon in the clear.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>When a reset counts as hung; null for the daemon's own default.</summary>
    public string? SlowCallDeadline { get; init; }

    /// <summary>Device state of each function.</summary>
    public string StateSize { get; init; } = "256KiB";

    public int Accelerators { get; init; } = 1;

    public string[] WithoutDrivers { get; init; } = [];

    /// <summary>What mediated devices can be made of.</summary>
    public string[] MdevParents { get; init; } = [];

    /// <summary>Sockets of devices that other processes serve, by their addresses.</summary>
    public (string Address, string Socket)[] Served { get; init; } = [];

    /// <summary>Where a host records what runs on it; empty for nowhere.</summary>
    public string RunLog { get; init; } = "";

    /// <summary>Where it sends its traces; empty for nowhere.</summary>
    public string Otlp { get; init; } = "";

    /// <summary>Where plugins are; empty for none.</summary>
    public string Plugins { get; init; } = "";

    public string ToJson() => JsonSerializer.Serialize(
        new
        {
            Node = new { Name, Roles = Role.Split(','), DataDirectory, RunLog },
            Cluster = new { Address, Port = ClusterPort, Seeds, Insecure = Address != "127.0.0.1" },
            Api = new { Url = Api ?? $"http://{Address}:0" },
            Tls = Tls is null ? new object() : Tls,
            DataPlane = new { Address, Port = 0 },
            Journal = new { Connection = Journal ?? "" },
            Devices = SlowCallDeadline is null ? new object() : new { SlowCallDeadline },
            Drivers = new { Folder = Plugins },
            Telemetry = new { Otlp },
            Hardware = new
            {
                Emulated = new { Accelerators, FunctionsPerAccelerator = VirtualFunctions, StateSize, MdevParents },
                Linux = new { Enabled = false },
                VfioUser = Served.Select(static device => new { device.Address, device.Socket }),
                WithoutDrivers,
            },
        },
        Format);
}

/// <summary>What a daemon shows to others and whom it trusts.</summary>
internal sealed record TlsFiles(string Certificate, string Key, string Ca);
