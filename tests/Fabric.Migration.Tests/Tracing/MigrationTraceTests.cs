using System.Collections.Concurrent;
using System.Diagnostics;
using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Migration.Tests.Claims;
using Fabric.Migration.Tests.Hosts;
using Fabric.Migration.Tracing;

namespace Fabric.Migration.Tests.Tracing;

/// <summary>What somebody who listens sees of a migration, and that there is nothing where nobody does.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class MigrationTraceTests(ClaimLab lab)
{
    private const string Traced = "traced";

    [Fact]
    public async Task A_migration_is_one_trace_with_its_steps_below_the_claims_span()
    {
        using var heard = new Heard();
        var claim = await Migrated(lab.NewClaim());

        var root = Assert.Single(await heard.Of(claim.Id, "migration"));
        Assert.Equal(default, root.ParentSpanId);
        var steps = heard.All.Where(span => span.ParentSpanId == root.SpanId).Select(static span => span.OperationName).ToArray();
        Assert.Equal(["reserve", "pre-copy", "stop-copy", "commit", "run", "release"], steps);
        Assert.All(heard.All.Where(span => span.GetTagItem("fabric.claim") as string == claim.Id), span => Assert.Equal(root.TraceId, span.TraceId));
        Assert.Equal(
            ("alpha", "beta", 1, 2L, "ops", "committed"),
            (root.GetTagItem("fabric.from"), root.GetTagItem("fabric.to"), root.GetTagItem("fabric.migration"), root.GetTagItem("fabric.generation"),
                root.GetTagItem("fabric.requested_by"), root.GetTagItem("outcome")));
    }

    [Fact]
    public async Task The_rounds_of_the_pre_copy_are_events_of_its_span()
    {
        using var heard = new Heard();
        var claim = await Migrated(lab.NewClaim());

        var preCopy = Assert.Single(await heard.Of(claim.Id, "pre-copy"));
        Assert.Contains(preCopy.Events, static happened => happened.Name == "round");
    }

    [Fact]
    public async Task Both_hosts_are_told_the_span_of_the_step_that_they_are_part_of()
    {
        using var heard = new Heard();
        var told = new ConcurrentDictionary<string, string?>();
        var claim = await Migrated(Noting(lab.NewClaim(), told));

        Assert.Equal(Assert.Single(await heard.Of(claim.Id, "reserve")).Id, told["target"]);
        Assert.Equal(Assert.Single(await heard.Of(claim.Id, "pre-copy")).Id, told["source"]);
    }

    [Fact]
    public async Task The_runs_of_both_hosts_are_children_of_what_the_claim_told_them()
    {
        using var heard = new Heard();
        await using var alpha = new TestHost("alpha");
        await using var beta = new TestHost("beta");
        var above = new ActivityContext(ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded);
        var traceparent = $"00-{above.TraceId}-{above.SpanId}-01";
        await alpha.Do<Attached>(new Attach(Traced, 1, [TestHost.Device], 1 << 20, 1000));
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Traced, 2, 1, [TestHost.Device], 1 << 20, 1000) { Traceparent = traceparent });
        await alpha.Do<PreCopyProgress>(
            new StartPreCopy(Traced, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, 0) { Traceparent = traceparent });
        beta.Tell(new StopAndCopy(Traced, 2, TestHost.Device, 1));
        await alpha.Do<SourceStopped>(new StopAndCopy(Traced, 2, TestHost.Device, 1));
        await beta.Next<TargetLoaded>();

        foreach (var name in new[] { "source run", "target run" })
        {
            var run = Assert.Single(await heard.Of(Traced, name));
            Assert.Equal((above.TraceId, above.SpanId, "done"), (run.TraceId, run.ParentSpanId, run.GetTagItem("outcome")));
            Assert.True((long)run.GetTagItem("bytes")! > 1 << 20);
        }
    }

    [Fact]
    public async Task A_migration_that_is_called_off_says_so_after_its_rollback()
    {
        using var heard = new Heard();
        var claim = lab.NewClaim();
        claim.Instead = static (host, command) => host == "beta" && command is StopAndCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StopAndCopy");
        claim.Tell(claim.CancelFirst);
        await claim.Until("journal MigrationRolledBack");

        var root = Assert.Single(await heard.Of(claim.Id, "migration"));
        Assert.Equal(("cancelled", ActivityStatusCode.Error), (root.GetTagItem("outcome"), root.Status));
        Assert.Equal(root.SpanId, Assert.Single(await heard.Of(claim.Id, "rollback")).ParentSpanId);
    }

    [Fact]
    public async Task Who_takes_a_migration_up_goes_on_in_its_trace_and_is_linked_to_its_first_span()
    {
        using var heard = new Heard();
        var claim = await lab.NewClaim().Run();
        claim.Fail("TargetReserved", JournalFault.KeepAndFail);
        await Migrated(claim);

        var roots = await heard.Of(claim.Id, "migration", count: 2);
        Assert.Equal((roots[0].TraceId, roots[0].SpanId), (roots[1].TraceId, roots[1].ParentSpanId));
        Assert.Equal(roots[0].SpanId, Assert.Single(roots[1].Links).Context.SpanId);
        Assert.Equal(("left", "committed"), (roots[0].GetTagItem("outcome"), roots[1].GetTagItem("outcome")));
    }

    [Fact]
    public void A_request_that_is_traced_is_linked_from_the_claims_span()
    {
        using var heard = new Heard();
        var asking = ActivityTraceId.CreateRandom();
        var trace = new ClaimTrace("asked");

        trace.Begin(new MigrationStarted { Number = 1 }, $"00-{asking}-{ActivitySpanId.CreateRandom()}-01");
        trace.Leave("left");

        var root = Assert.Single(heard.All, static span => span.GetTagItem("fabric.claim") as string == "asked");
        Assert.Equal(asking, Assert.Single(root.Links).Context.TraceId);
        Assert.NotEqual(asking, root.TraceId);
    }

    [Fact]
    public async Task Without_a_listener_hosts_are_told_of_no_trace()
    {
        var told = new ConcurrentDictionary<string, string?>();
        await Migrated(Noting(lab.NewClaim(), told));

        Assert.Equal((null, null), (told["target"], told["source"]));
    }

    [Fact]
    public void Without_a_listener_nothing_is_allocated()
    {
        var (trace, started) = (new ClaimTrace("unheard"), new MigrationStarted { Number = 1 });
        var migration = new ClaimMigration(1, "alpha", ["a"], "beta", ["b"], 300, 1000, 0, "ops", 0) { Step = MigrationStep.PreCopy };
        var told = new PreCopyProgress("unheard", "alpha", 2, 1, 1, 1, 1, 1, RoundEnded: true);
        Walk();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Walk();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Walk()
        {
            trace.Begin(started, requester: null);
            trace.Follow(migration, 2);
            trace.Round(told);
            trace.Enter("commit");
            trace.Leave("left");
        }
    }

    private static async Task<ClaimUnderTest> Migrated(ClaimUnderTest claim)
    {
        await claim.Migrate();
        await claim.Until("journal SourceReleased");
        return claim;
    }

    private static ClaimUnderTest Noting(ClaimUnderTest claim, ConcurrentDictionary<string, string?> told)
    {
        claim.Instead = (_, command) =>
        {
            if (command is PrepareTarget prepare)
                told["target"] = prepare.Traceparent;
            else if (command is StartPreCopy start)
                told["source"] = start.Traceparent;
            return null;
        };
        return claim;
    }

    /// <summary>Every span that has ended, in that order.</summary>
    private sealed class Heard : IDisposable
    {
        private readonly ActivityListener listener;
        private readonly Lock gate = new();
        private readonly List<Activity> spans = [];
        private TaskCompletionSource more = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Heard()
        {
            listener = new ActivityListener
            {
                ShouldListenTo = static source => source.Name == MigrationTracing.SourceName,
                Sample = static (ref _) => ActivitySamplingResult.AllDataAndRecorded,
                ActivityStopped = Add,
            };
            ActivitySource.AddActivityListener(listener);
        }

        public Activity[] All
        {
            get
            {
                lock (gate)
                    return [.. spans];
            }
        }

        public async Task<Activity[]> Of(string claim, string name, int count = 1)
        {
            while (true)
            {
                Task next;
                lock (gate)
                    next = more.Task;
                var found = All.Where(span => span.OperationName == name && span.GetTagItem("fabric.claim") as string == claim).ToArray();
                if (found.Length >= count)
                    return found;
                await next.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            }
        }

        public void Dispose() => listener.Dispose();

        private void Add(Activity span)
        {
            TaskCompletionSource before;
            lock (gate)
            {
                spans.Add(span);
                (before, more) = (more, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
            }

            before.SetResult();
        }
    }
}
