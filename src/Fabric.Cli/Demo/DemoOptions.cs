namespace Fabric.Cli.Demo;

/// <summary>What is asked of the demo.</summary>
/// <param name="StateSize">Device state of each emulated function.</param>
/// <param name="Journal">Connection string of a PostgreSQL; null is SQLite in the control node's folder.</param>
/// <param name="StepsPerSecond">Pace of the workload; null is the daemon's own.</param>
/// <param name="DowntimeMs">Limit of every migration's stop.</param>
/// <param name="Fabricd">The daemon's executable.</param>
/// <param name="Keep">Leave the daemons up after the report.</param>
internal sealed record DemoOptions(
    ByteSize StateSize, string? Journal, int? StepsPerSecond, int DowntimeMs, string Fabricd, bool Keep)
{
    /// <summary>The longest a failover of the control plane may take.</summary>
    public static readonly TimeSpan FailoverLimit = TimeSpan.FromSeconds(20);

    /// <summary>MiB/s at which a pre-copy takes some four seconds: long enough to kill something in the middle of it.</summary>
    public int ThrottleMibPerSecond => Math.Max(8, (int)Math.Ceiling(StateSize.Mebibytes / 4));

    /// <summary>Claims live as long as their journal, and a PostgreSQL outlives the demo.</summary>
    public string Claim { get; } = Journal is null ? "demo" : $"demo-{Guid.NewGuid().ToString("N")[..8]}";
}
