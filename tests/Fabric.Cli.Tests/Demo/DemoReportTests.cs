using System.Text.Json;
using Fabric.Cli.Demo;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Demo;

public sealed class DemoReportTests
{
    private static readonly DemoOptions Options = new(new ByteSize(64 << 20), null, null, 300, "/fabricd", false);

    [Fact]
    public void Json_has_the_keys_that_programs_rely_on()
    {
        var report = Json(Complete());

        Assert.True(report.GetProperty("ok").GetBoolean());
        AssertHas(
            report, "ok", "migrations", "workload", "failovers", "recovery", "verification", "checks", "journal", "state_bytes", "seconds");
        AssertHas(
            report.GetProperty("migrations")[0], "id", "from", "to", "outcome", "total_ms", "downtime_ms", "bytes", "mib_per_s", "rounds",
            "verified", "checksum", "phases");
        AssertHas(report.GetProperty("workload"), "steps", "lost", "repeated", "torn", "longest_gap_ms");
        AssertHas(report.GetProperty("failovers")[0], "killed", "seconds", "parts");
        AssertHas(report.GetProperty("recovery"), "device", "severity", "outcome", "milliseconds", "steps");
        AssertHas(report.GetProperty("checks")[0], "name", "ok", "detail");
    }

    [Fact]
    public void A_migration_that_never_stopped_the_workload_has_a_downtime_of_0()
    {
        var record = new DemoRecord(Options, TimeProvider.System);
        record.Add(Sample.Migration("done", "rolled-back", "host-a died"));

        var migration = Json(record.Report()).GetProperty("migrations")[0];

        Assert.Equal(0, migration.GetProperty("downtime_ms").GetDouble());
        Assert.Equal("host-a died", migration.GetProperty("reason").GetString());
    }

    [Fact]
    public void What_ended_the_demo_early_is_in_the_report_and_it_is_not_ok()
    {
        var report = Json(Complete("host-b died."));

        Assert.False(report.GetProperty("ok").GetBoolean());
        Assert.Equal("host-b died.", report.GetProperty("error").GetString());
    }

    [Fact]
    public void People_get_one_last_line_that_says_it_all()
    {
        Assert.EndsWith("All 1 checks held.\n", Text(Complete()));
        Assert.EndsWith("FAILED: the demo did not come to its end; until then 1 of 1 checks held.\n", Text(Complete("x")));
        Assert.EndsWith("FAILED: 1 of 2 checks did not hold.\n", Text(Complete(null, new DemoCheck("no step lost", false, "3"))));
    }

    private static DemoReport Complete(string? error = null, params DemoCheck[] checks)
    {
        var record = new DemoRecord(Options, TimeProvider.System)
        {
            Workload = new WorkloadResource(1000, 0, 0, 0, 41.2),
            Recovery = new RecoveryResource("host-c/0000:3b:00.2", "non-fatal", "recovered", 8, ["resume"]),
            Verification = new VerificationResource(1000, 512, 64, 0),
            IsComplete = true,
        };
        record.Add(Sample.Migration("done", "committed"));
        record.Add(new Failover("control", 4.2, "migration done", [new FailoverPart("migration done", 4.2)]));
        foreach (var check in checks.Prepend(new DemoCheck("no record torn", true, "0")))
            record.Add(check);
        return record.Report(error);
    }

    private static JsonElement Json(DemoReport report) => JsonElement.Parse(JsonText.Document(report));

    private static void AssertHas(JsonElement element, params string[] names) =>
        Assert.Empty(names.Except(element.EnumerateObject().Select(member => member.Name)));

    private static string Text(DemoReport report)
    {
        using var writer = new StringWriter();
        ReportView.Show(new PlainScreen(writer), report);
        return writer.ToString();
    }
}
