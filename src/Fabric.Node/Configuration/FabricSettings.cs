namespace Fabric.Node.Configuration;

/// <summary>Everything a daemon can be told; <c>cluster-config/reference.json</c> comments on each setting.</summary>
internal sealed record FabricSettings
{
    public NodeSettings Node { get; init; } = new();

    public ClusterSettings Cluster { get; init; } = new();

    public TlsSettings Tls { get; init; } = new();

    public ApiSettings Api { get; init; } = new();

    public DataPlaneSettings DataPlane { get; init; } = new();

    public JournalSettings Journal { get; init; } = new();

    public DevicesSettings Devices { get; init; } = new();

    public FleetSettings Fleet { get; init; } = new();

    public DriversSettings Drivers { get; init; } = new();

    public TelemetrySettings Telemetry { get; init; } = new();

    public HardwareSettings Hardware { get; init; } = new();

    public ServingSettings Serving { get; init; } = new();

    public bool IsControl => Node.Roles.Contains("control");

    public bool IsHost => Node.Roles.Contains("host");
}

internal sealed record TelemetrySettings
{
    /// <summary>Where traces go, OTLP over gRPC; nowhere when empty.</summary>
    public string Otlp { get; init; } = "";
}

internal sealed record NodeSettings
{
    /// <summary>Unique in the fabric; the machine's name when empty.</summary>
    public string Name { get; init; } = "";

    /// <summary><c>control</c> (claims, sagas, the journal), <c>host</c> (devices), or both.</summary>
    public string[] Roles { get; init; } = [];

    public string DataDirectory { get; init; } = "data";

    /// <summary>Where a host records what runs on it, a line of JSON each; nowhere when empty.</summary>
    public string RunLog { get; init; } = "";

    /// <summary>What claims select hosts by, <c>key=value</c> each.</summary>
    public string[] Labels { get; init; } = [];
}

/// <summary>How much the fabric moves by itself; of control nodes, the same on each.</summary>
internal sealed record FleetSettings
{
    /// <summary>Migrations under way at once, whoever asked for them, before a drain or a rebalance begins another.</summary>
    public int Migrations { get; init; } = 5;

    /// <summary>Of those, how many may leave one host.</summary>
    public int OutgoingPerHost { get; init; } = 2;

    /// <summary>Migrations of one claim that may fail in a drain before a person has to look.</summary>
    public int Attempts { get; init; } = 3;

    public BreakerSettings Breaker { get; init; } = new();
}

/// <summary>When automatic moves stop.</summary>
internal sealed record BreakerSettings
{
    /// <summary>More than this share of the hosts, or of the devices of one model, per cent.</summary>
    public int SharePercent { get; init; } = 50;

    /// <summary>In which they begin to misbehave.</summary>
    public string Window { get; init; } = "5min";

    /// <summary>Fewer never stop anything.</summary>
    public int Least { get; init; } = 2;
}

internal sealed record ClusterSettings
{
    /// <summary>Where other nodes reach this one. Loopback unless told otherwise.</summary>
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>0 takes a free one.</summary>
    public int Port { get; init; } = 8471;

    /// <summary>The control nodes, <c>ip:port</c> each. A control node whose list is empty, or begins with itself and is not answered, founds the fabric.</summary>
    public string[] Seeds { get; init; } = [];

    public DiscoverySettings Discovery { get; init; } = new();

    /// <summary>Lets addresses other than loopback be used without TLS: whoever reaches them can then do everything that a member can.</summary>
    public bool Insecure { get; init; }
}

/// <summary>How the control nodes are found where they are not listed.</summary>
internal sealed record DiscoverySettings
{
    /// <summary>What they are called there; empty for a daemon that has seeds, or founds a fabric.</summary>
    public string Service { get; init; } = "";

    /// <summary>A file of HOCON, of which <c>akka.discovery</c> is read.</summary>
    public string Configuration { get; init; } = "";

    public bool IsSet => Service.Length > 0;
}

/// <summary>PEM files by which this daemon is known to others and knows them; all three or none.</summary>
internal sealed record TlsSettings
{
    public string Certificate { get; init; } = "";

    public string Key { get; init; } = "";

    /// <summary>The authority of the fabric: who has a certificate of it is a member.</summary>
    public string Ca { get; init; } = "";

    public bool IsSet => Ca.Length > 0;
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

/// <summary>How a host treats its devices: deadlines, budgets, retries. Times as <see cref="Duration"/> reads them.</summary>
internal sealed record DevicesSettings
{
    /// <summary>A call to hardware that a device's own mailbox makes, such as a register access.</summary>
    public string CallDeadline { get; init; } = "5s";

    /// <summary>Probe, open, close, reset, VFs.</summary>
    public string SlowCallDeadline { get; init; } = "70s";

    /// <summary>How long a request waits for its device set or IOMMU group.</summary>
    public string TurnDeadline { get; init; } = "5s";

    /// <summary>A driver that has not voted in a recovery by then counts as having no handler.</summary>
    public string VoteDeadline { get; init; } = "5s";

    public int RestartBudget { get; init; } = 5;

    public int FreezeBudget { get; init; } = 5;

    public string BudgetWindow { get; init; } = "1h";

    public RetrySettings RetryContention { get; init; } = new();

    /// <summary>Reset methods in the order in which they are tried; empty keeps each function's own.</summary>
    public string[] ResetOrder { get; init; } = [];

    /// <summary>Errors of one device are told of at most once in this time.</summary>
    public string ErrorInterval { get; init; } = "1s";

    public int ConcurrentProbes { get; init; } = 16;
}

/// <summary>Drivers that are not in the box.</summary>
internal sealed record DriversSettings
{
    /// <summary>A folder with one for each plugin; empty for none.</summary>
    public string Folder { get; init; } = "";
}

/// <summary>Whether opens and resets that meet contention are tried again.</summary>
internal sealed record RetrySettings
{
    /// <summary>0 gives who asked EAGAIN, as the kernel does.</summary>
    public int Tries { get; init; }

    public string Delay { get; init; } = "10ms";

    /// <summary>By which the delay grows.</summary>
    public int Factor { get; init; } = 2;
}

internal sealed record HardwareSettings
{
    public EmulatedSettings Emulated { get; init; } = new();

    public LinuxSettings Linux { get; init; } = new();

    /// <summary>Devices that other processes serve to this host.</summary>
    public SocketSettings[] VfioUser { get; init; } = [];

    /// <summary>Variant drivers that this host does without, by name.</summary>
    public string[] WithoutDrivers { get; init; } = [];
}

internal sealed record EmulatedSettings
{
    public int Accelerators { get; init; }

    public int FunctionsPerAccelerator { get; init; } = 4;

    /// <summary>The virtual functions are there from the start and stay; else the host makes them through SR-IOV.</summary>
    public bool VirtualFunctionsAtStart { get; init; } = true;

    /// <summary>Cards beside the accelerators.</summary>
    public CardSettings[] Cards { get; init; } = [];

    /// <summary>Device state of each virtual function, such as <c>64MiB</c>.</summary>
    public string StateSize { get; init; } = "64MiB";

    /// <summary>What mediated devices can be made of, by name; none offers none.</summary>
    public string[] MdevParents { get; init; } = [];

    /// <summary><see cref="StateSize"/> in bytes; 0 where it is not a size, which the loader refuses.</summary>
    internal long StateBytes => ByteSize.TryParse(StateSize, out var bytes) ? bytes : 0;
}

/// <summary>Emulated cards of one model.</summary>
internal sealed record CardSettings
{
    public string Model { get; init; } = "";

    public int Count { get; init; } = 1;

    /// <summary>VFs that each has from the start.</summary>
    public int VirtualFunctions { get; init; }
}

/// <summary>Devices that a host serves to VMMs from its start.</summary>
internal sealed record ServingSettings
{
    public SocketSettings[] Sockets { get; init; } = [];
}

/// <summary>A device that is served by vfio-user, here or elsewhere.</summary>
internal sealed record SocketSettings
{
    /// <summary>The device's PCI address on this host.</summary>
    public string Address { get; init; } = "";

    /// <summary>The path of the UNIX socket.</summary>
    public string Socket { get; init; } = "";
}

internal sealed record LinuxSettings
{
    /// <summary>Whether the real PCI functions of this machine are listed.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Which of those that vfio-pci has are handed out, by address; <c>*</c> is all of them. None unless told so.</summary>
    public string[] Functions { get; init; } = [];

    /// <summary>Gives those that are named to vfio-pci when the daemon starts, and back when it ends.</summary>
    public bool Bind { get; init; }

    public string Sysfs { get; init; } = "/sys";
}
