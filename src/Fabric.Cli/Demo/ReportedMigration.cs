using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>One migration in the report.</summary>
/// <param name="DowntimeMs">0 where the workload was never stopped.</param>
internal sealed record ReportedMigration(
    string Id, string From, string To, string Outcome, string? Reason, double TotalMs, double DowntimeMs, int DowntimeLimitMs, long Bytes,
    double MibPerS, int Rounds, bool Verified, string? Checksum, IReadOnlyList<PhaseResource> Phases)
{
    public static ReportedMigration Of(MigrationResource migration) => new(
        migration.Id, migration.From, migration.To, migration.Outcome ?? migration.Phase, migration.Reason, migration.TotalMs,
        migration.DowntimeMs ?? 0, migration.DowntimeLimitMs, migration.Bytes, migration.MibPerS, migration.Rounds, migration.Verified,
        migration.Checksum, migration.Phases ?? []);
}
