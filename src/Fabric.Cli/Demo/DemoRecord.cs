using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>Gathers the report while the script runs.</summary>
internal sealed class DemoRecord(DemoOptions options, TimeProvider time)
{
    private readonly long _start = time.GetTimestamp();
    private readonly List<ReportedMigration> _migrations = [];
    private readonly List<Failover> _failovers = [];
    private readonly List<DemoCheck> _checks = [];

    public WorkloadResource? Workload { get; set; }

    public RecoveryResource? Recovery { get; set; }

    public VerificationResource? Verification { get; set; }

    /// <summary>Set when the script has come to its end.</summary>
    public bool IsComplete { get; set; }

    public void Add(MigrationResource migration) => _migrations.Add(ReportedMigration.Of(migration));

    public void Add(Failover failover) => _failovers.Add(failover);

    public void Add(DemoCheck check) => _checks.Add(check);

    public DemoReport Report(string? error = null, IReadOnlyList<DaemonStatus>? daemons = null) => new(
        error is null && IsComplete && _checks.All(check => check.Ok),
        error,
        options.Journal is null ? "sqlite" : "postgresql",
        options.StateSize.Bytes,
        Math.Round(time.GetElapsedTime(_start).TotalSeconds, 2),
        [.. _migrations],
        Workload,
        [.. _failovers],
        Recovery,
        Verification,
        [.. _checks],
        daemons);
}
