using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>What a demo found out; <c>--json</c> prints it.</summary>
/// <param name="Ok">The script came to its end and every check held.</param>
/// <param name="Error">What ended the script early.</param>
/// <param name="Journal"><c>sqlite</c> or <c>postgresql</c>.</param>
/// <param name="StateBytes">Device state of one function.</param>
/// <param name="Daemons">Those left running.</param>
internal sealed record DemoReport(
    bool Ok, string? Error, string Journal, long StateBytes, double Seconds, IReadOnlyList<ReportedMigration> Migrations,
    WorkloadResource? Workload, IReadOnlyList<Failover> Failovers, RecoveryResource? Recovery, VerificationResource? Verification,
    IReadOnlyList<DemoCheck> Checks, IReadOnlyList<DaemonStatus>? Daemons);
