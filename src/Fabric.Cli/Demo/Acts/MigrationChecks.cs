using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>What is to be said of migrations that have ended.</summary>
internal static class MigrationChecks
{
    public static string Ending(MigrationResource migration, ClaimResource claim) =>
        $"{migration.Outcome}, claim on {claim.Host}{(migration.Reason is { } reason ? $": {reason}" : "")}";

    /// <summary>What holds for every migration that was committed.</summary>
    public static void Committed(Stage stage, MigrationResource migration)
    {
        stage.Check(
            $"{migration.Id} within its downtime limit",
            migration.DowntimeMs is { } downtime && downtime <= stage.Options.DowntimeMs,
            $"{(migration.DowntimeMs is { } measured ? Units.Time(measured) : "not measured")} of {Units.Time(stage.Options.DowntimeMs)}");
        stage.Check(
            $"{migration.Id} verified before its commit",
            migration.Verified,
            migration.Verified ? $"both ends had checksum {migration.Checksum}" : "length and checksum were not compared");
    }
}
