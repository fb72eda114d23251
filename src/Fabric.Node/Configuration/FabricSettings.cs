namespace Fabric.Node.Configuration;

/// <summary>Everything a daemon can be told; <c>cluster-config/reference.json</c> comments on each setting.</summary>
internal sealed record FabricSettings
{
    public NodeSettings Node { get; init; } = new();

    public ClusterSettings Cluster { get; init; } = new();

    public ApiSettings Api { get; init; } = new();

    public DataPlaneSettings DataPlane { get; init; } = new();

    public JournalSettings Journal { get; init; } = new();

    public HardwareSettings Hardware { get; init; } = new();

    public bool IsControl => Node.Roles.Contains("control");

    public bool IsHost => Node.Roles.Contains("host");
}

internal sealed record NodeSettings
{
    /// <summary>Unique in the fabric; the machine's name when empty.</summary>
    public string Name { get; init; } = "";

    /// <summary><c>control</c> (claims, sagas, the journal), <c>host</c> (devices), or both.</summary>
    public string[] Roles { get; init; } = [];

    public string DataDirectory { get; init; } = "data";
}

internal sealed record ClusterSettings
{
    /// <summary>Where other nodes reach this one. Loopback unless told otherwise.</summary>
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; } = 8471;

    /// <summary>The control nodes, <c>ip:port</c> each. A control node whose list is empty, or begins with itself and is not answered, founds the fabric.</summary>
    public string[] Seeds { get; init; } = [];
}

internal sealed record ApiSettings
{
    public string Url { get; init; } = "http://127.0.0.1:8470";
}

internal sealed record DataPlaneSettings
{
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; } = 8472;
}

internal sealed record JournalSettings
{
    /// <summary>A PostgreSQL connection string; empty is SQLite in the data directory, for one control node.</summary>
    public string Connection { get; init; } = "";

    public bool IsSqlite => Connection.Length == 0;
}

internal sealed record HardwareSettings
{
    public EmulatedSettings Emulated { get; init; } = new();

    public LinuxSettings Linux { get; init; } = new();

    /// <summary>Variant drivers that this host does without, by name.</summary>
    public string[] WithoutDrivers { get; init; } = [];
}

internal sealed record EmulatedSettings
{
    public int Accelerators { get; init; }

    public int FunctionsPerAccelerator { get; init; } = 4;

    /// <summary>Device state of each virtual function, such as <c>64MiB</c>.</summary>
    public string StateSize { get; init; } = "64MiB";

    /// <summary><see cref="StateSize"/> in bytes; 0 where it is not a size, which the loader refuses.</summary>
    internal long StateBytes => ByteSize.TryParse(StateSize, out var bytes) ? bytes : 0;
}

internal sealed record LinuxSettings
{
    /// <summary>Whether the real PCI functions of this machine are listed.</summary>
    public bool Enabled { get; init; } = true;

    public string Sysfs { get; init; } = "/sys";
}
