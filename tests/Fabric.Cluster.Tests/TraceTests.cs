using System.Diagnostics;
using Fabric.Cluster.Tests.Processes;
using Fabric.Cluster.Tests.Traces;

namespace Fabric.Cluster.Tests;

/// <summary>What a collector of traces gets of a migration of real daemons.</summary>
public sealed class TraceTests
{
    [Fact]
    public async Task A_migration_is_one_trace_of_its_control_node_and_both_hosts_linked_to_who_asked()
    {
        await using var collector = await TraceCollector.StartAsync();
        await using var fabric = await TestFabric.StartAsync(hosts: 2, change: settings => settings with { Otlp = collector.Endpoint });
        await fabric.ClaimRunningAsync("traced", "host-a");
        using var asking = new Activity("test") { ActivityTraceFlags = ActivityTraceFlags.Recorded }.Start();

        await fabric.Http.PostAsync("api/v1/claims/traced/migrations", """{"to":"host-b"}""");
        await fabric.MigrationAsync("traced.1", static migration => migration.Outcome == "committed", "committed");

        // Each daemon exports on its own every few seconds.
        var spans = await Poll.UntilAsync(
            "the spans of all three",
            () => Task.FromResult(collector.Spans.ToArray()),
            static spans => Named(spans, "migration").Any() && spans.Select(static span => span.Daemon).Distinct().Count() == 3,
            static spans => string.Join(", ", spans.Select(static span => $"{span.Daemon}: {span.Span.Name}")));
        var root = Assert.Single(Named(spans, "migration"));
        Assert.Equal("control", root.Daemon);
        Assert.All(spans, span => Assert.Equal(root.Span.TraceId, span.Span.TraceId));
        Assert.Equal(asking.TraceId.ToHexString(), Convert.ToHexStringLower(Assert.Single(root.Span.Links).TraceId.Span));
        Assert.Equal(["control", "host-a", "host-b"], spans.Select(static span => span.Daemon).Distinct().Order());
    }

    private static IEnumerable<ReceivedSpan> Named(IEnumerable<ReceivedSpan> spans, string name) => spans.Where(span => span.Span.Name == name);
}
