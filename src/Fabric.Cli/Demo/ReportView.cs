using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>The demo's findings as people see them.</summary>
internal static class ReportView
{
    public static void Show(Screen screen, DemoCheck check) =>
        screen.Line($"{(check.Ok ? "ok    " : "FAILED")}  {check.Name}: {check.Detail}", check.Ok ? Tone.Good : Tone.Bad);

    public static void Show(Screen screen, Failover failover) => screen.Split(
        $"{Units.Seconds(failover.Seconds)} from kill -9 of {failover.Killed} to {failover.Until}",
        [.. failover.Parts.Select(part => (part.Name, part.Seconds * 1000))]);

    public static void ShowDowntime(Screen screen, MigrationResource migration)
    {
        var parts = (migration.Phases ?? []).Where(phase => phase.Downtime).Select(phase => (phase.Name, phase.Ms)).ToList();
        if (migration.DowntimeMs is { } downtime and > 0 && parts.Count > 0)
            screen.Split($"Downtime of {migration.Id}, {Units.Time(downtime)}", parts);
    }

    public static void Show(Screen screen, DemoReport report)
    {
        screen.Heading("Report");
        ShowMigrations(screen, report.Migrations);
        ShowFailovers(screen, report.Failovers);
        if (report.Workload is { } workload)
            screen.Fields(
                ("workload", $"{Units.Count(workload.Steps)} steps: {workload.Lost} lost, {workload.Repeated} repeated, "
                    + $"{workload.Torn} torn; longest gap {Units.Time(workload.LongestGapMs)}"),
                ("recovery", report.Recovery is { } recovery
                    ? $"{recovery.Severity} AER error in {recovery.Device}: {recovery.Outcome} in {Units.Time(recovery.Milliseconds)}"
                    : null),
                ("took", Units.Seconds(report.Seconds)));
        foreach (var check in report.Checks)
            Show(screen, check);
        if (report.Error is { } error)
            screen.Line(error, Tone.Bad);
        var held = report.Checks.Count(check => check.Ok);
        screen.Line(
            report.Ok ? $"All {held} checks held."
                : report.Error is null ? $"FAILED: {report.Checks.Count - held} of {report.Checks.Count} checks did not hold."
                : $"FAILED: the demo did not come to its end; until then {held} of {report.Checks.Count} checks held.",
            report.Ok ? Tone.Good : Tone.Bad);
    }

    private static void ShowMigrations(Screen screen, IReadOnlyList<ReportedMigration> migrations)
    {
        if (migrations.Count == 0)
            return;
        var sheet = new Sheet(
            "migration", "from → to", "outcome", Column.OfNumbers("total"), Column.OfNumbers("downtime"), Column.OfNumbers("bytes"),
            Column.OfNumbers("rate"), Column.OfNumbers("rounds"), "verified", "checksum");
        foreach (var migration in migrations)
            sheet.Add(
                migration.Id, $"{migration.From} → {migration.To}",
                new Cell(migration.Outcome, migration.Outcome == "committed" ? Tone.Good : Tone.Warning), Units.Time(migration.TotalMs),
                migration.DowntimeMs > 0 ? Units.Time(migration.DowntimeMs) : "none", Units.Bytes(migration.Bytes),
                Units.Rate(migration.MibPerS), Units.Count(migration.Rounds), Verified(migration), Short(migration.Checksum));
        screen.Table(sheet);
    }

    private static Cell Verified(ReportedMigration migration) => migration switch
    {
        { Verified: true } => new Cell("equal", Tone.Good),
        { Outcome: "committed" } => new Cell("no", Tone.Bad),
        _ => (string?)null,
    };

    /// <summary>Enough of a checksum to tell it from another; the JSON report has the whole.</summary>
    private static string? Short(string? checksum) => checksum is { Length: > 16 } ? checksum[..16] + "…" : checksum;

    private static void ShowFailovers(Screen screen, IReadOnlyList<Failover> failovers)
    {
        if (failovers.Count == 0)
            return;
        var sheet = new Sheet("killed", "and then", Column.OfNumbers("took"));
        foreach (var failover in failovers)
        {
            foreach (var (index, part) in failover.Parts.Index())
                sheet.Add(new Cell(index == 0 ? $"kill -9 {failover.Killed}" : ""), part.Name, Units.Seconds(part.Seconds));
            sheet.Add(new Cell(""), new Cell("in all", Tone.Strong), new Cell(Units.Seconds(failover.Seconds), Tone.Strong));
        }

        screen.Table(sheet);
    }
}
