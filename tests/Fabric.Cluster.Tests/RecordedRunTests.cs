using Fabric.Cluster.Tests.Processes;
using Fabric.Migration.Hosts.Runs;

namespace Fabric.Cluster.Tests;

/// <summary>Three migrations of real processes, recorded by their hosts: one left alone, one whose target is killed, one whose source stands still.</summary>
public sealed class RecordedRun : IAsyncLifetime
{
    private const int Seed = 6;

    internal IReadOnlyList<RunRecord> Records { get; private set; } = [];

    public async ValueTask InitializeAsync()
    {
        await using var fabric = await FaultRun.StartAsync(journal: null);
        var run = new FaultRun(fabric, new Random(Seed), static _ => { });
        await run.BeginAsync();
        foreach (var fault in (MigrationFault[])[MigrationFault.None, MigrationFault.KillTarget, MigrationFault.PauseSource])
            await run.MigrateAsync(fault);
        Records = run.Records;
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>The laws of a migration, held by what real hosts have recorded: and what would break one is found in such a record.</summary>
public sealed class RecordedRunTests(RecordedRun run) : IClassFixture<RecordedRun>
{
    [Fact]
    public void What_hosts_recorded_keeps_the_laws() => Assert.Empty(RunHistory.Check(run.Records));

    [Fact]
    public void Each_migration_that_was_committed_saved_and_loaded_the_same_state()
    {
        var saved = run.Records.Where(static record => record.What == RunEvent.Saved).Select(static record => record.Hash);

        Assert.NotEmpty(Loads);
        Assert.All(Loads, loaded => Assert.Contains(loaded.Hash, saved));
    }

    [Fact]
    public void A_second_runner_breaks_L1()
    {
        var running = run.Records.First(static record => record.What == RunEvent.Afresh);
        var second = running with { At = running.At + 1000, What = RunEvent.Started, Host = "host-z" };

        Assert.Contains("L1", LawsBrokenBy([.. run.Records, second, second with { At = second.At + 1000, What = RunEvent.Stopped }]));
    }

    [Fact]
    public void A_step_that_was_done_twice_breaks_L2() =>
        Assert.Contains("L2", LawsBrokenBy(With(RunEvent.Started, static record => record with { Step = record.Step - 1 })));

    [Fact]
    public void A_state_that_was_not_the_one_that_was_saved_breaks_L2() =>
        Assert.Contains("L2", LawsBrokenBy(With(RunEvent.Loaded, static record => record with { Hash = "0123" })));

    [Fact]
    public void A_claim_that_runs_elsewhere_than_it_says_breaks_L3() =>
        Assert.Contains("L3", LawsBrokenBy([.. run.Records.Select(static record => record.What == RunEvent.Rest ? record with { Host = "host-z" } : record)]));

    private IEnumerable<RunRecord> Loads => run.Records.Where(static record => record.What == RunEvent.Loaded);

    private static IEnumerable<string> LawsBrokenBy(IEnumerable<RunRecord> records) =>
        RunHistory.Check(records).Select(static violation => violation.Law);

    /// <summary>The first record of a kind is changed.</summary>
    private RunRecord[] With(RunEvent what, Func<RunRecord, RunRecord> change)
    {
        var records = run.Records.ToArray();
        var at = Array.FindIndex(records, record => record.What == what);
        records[at] = change(records[at]);
        return records;
    }
}
