using Fabric.Cli.Demo;
using Fabric.Cli.Demo.Acts;
using Fabric.Cli.Output;

namespace Fabric.Cli.Tests.Demo;

public sealed class DemoScriptTests : IDisposable
{
    private readonly StringWriter _written = new();
    private readonly ShiftedTime _time = new();
    private FakeFabric _fabric = null!;
    private Stage _stage = null!;

    public DemoScriptTests() => Set(null);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _written.Dispose();

    [Fact]
    public async Task A_fabric_that_keeps_its_promises_passes_every_check()
    {
        await DemoScript.PlayAsync(_stage, Cancellation);

        var report = _stage.Record.Report();
        Assert.True(report.Ok, _written.ToString());
        Assert.Equal(["committed", "rolled-back", "committed"], report.Migrations.Select(migration => migration.Outcome));
    }

    [Fact]
    public async Task A_claim_that_cannot_always_tell_of_its_workload_is_asked_again()
    {
        _fabric.Stutters = true;

        await DemoScript.PlayAsync(_stage, Cancellation);

        Assert.True(_stage.Record.Report().Ok, _written.ToString());
    }

    [Fact]
    public async Task On_sqlite_the_control_node_is_killed_and_started_again_on_its_data()
    {
        await DemoScript.PlayAsync(_stage, Cancellation);

        Assert.Equal(["host-a", "control"], _fabric.Killed);
        Assert.Equal([("host-a", false), ("control", true)], _fabric.Restarted);
        Assert.Equal(["host-a", "control"], _stage.Record.Report().Failovers.Select(failover => failover.Killed));
    }

    [Fact]
    public async Task On_postgresql_the_claims_coordinator_is_killed_and_another_goes_on()
    {
        Set("Host=127.0.0.1");

        await DemoScript.PlayAsync(_stage, Cancellation);

        Assert.True(_stage.Record.Report().Ok, _written.ToString());
        Assert.Equal(["host-a", "control-3"], _fabric.Killed);
        Assert.DoesNotContain(_fabric.Restarted, restart => restart.Daemon == "control-3");
    }

    [Fact]
    public async Task A_coordinator_that_is_no_control_node_ends_the_demo()
    {
        Set("Host=127.0.0.1");
        _fabric.Coordinator = null;
        await ConsumerAct.PlayAsync(_stage, Cancellation);

        var failure = await Assert.ThrowsAsync<CommandFailure>(() => KilledControlAct.PlayAsync(_stage, Cancellation));

        Assert.Contains("names 'nobody' as its coordinator", failure.Message);
    }

    [Fact]
    public async Task A_downtime_past_its_limit_fails_the_report()
    {
        _fabric.DowntimeMs = 301;

        await DemoScript.PlayAsync(_stage, Cancellation);

        AssertFailedAlone("demo.1 within its downtime limit", "demo.3 within its downtime limit");
    }

    [Fact]
    public async Task A_commit_that_was_not_verified_fails_the_report()
    {
        _fabric.Verified = false;

        await DemoScript.PlayAsync(_stage, Cancellation);

        AssertFailedAlone("demo.1 verified before its commit", "demo.3 verified before its commit");
    }

    [Fact]
    public async Task A_claim_that_follows_a_dead_target_ends_the_demo()
    {
        _fabric.CommitsToTheDead = true;

        await Assert.ThrowsAsync<CommandFailure>(() => DemoScript.PlayAsync(_stage, Cancellation));

        AssertFailedAlone("demo.2 rolled back to host-b");
    }

    [Fact]
    public async Task A_source_that_stopped_for_longer_than_the_limit_fails_the_report()
    {
        await ConsumerAct.PlayAsync(_stage, Cancellation);
        await CleanMigrationAct.PlayAsync(_stage, Cancellation);
        var before = await _stage.ClaimAsync(Cancellation);
        _fabric.LongestGapMs = 301;

        WorkloadChecks.NeverStoppedForLonger(_stage, "went on", before, await _stage.ClaimAsync(Cancellation));

        AssertFailedAlone("went on");
    }

    [Fact]
    public async Task A_workload_that_stands_still_fails_the_report()
    {
        await ConsumerAct.PlayAsync(_stage, Cancellation);
        _fabric.StepsStop = true;
        var before = await _stage.ClaimAsync(Cancellation);

        WorkloadChecks.NeverStoppedForLonger(_stage, "went on", before, await _stage.ClaimAsync(Cancellation));

        AssertFailedAlone("went on");
    }

    [Fact]
    public async Task A_failover_of_more_than_twenty_seconds_fails_the_report()
    {
        await ConsumerAct.PlayAsync(_stage, Cancellation);
        _fabric.RestartTakes = TimeSpan.FromSeconds(20);

        await KilledControlAct.PlayAsync(_stage, Cancellation);

        AssertFailedAlone("done within 20 s of the kill of control");
    }

    [Fact]
    public async Task A_device_that_does_not_recover_fails_the_report()
    {
        _fabric.RecoveryOutcome = "failed";
        await ConsumerAct.PlayAsync(_stage, Cancellation);

        await DeviceErrorAct.PlayAsync(_stage, Cancellation);

        AssertFailedAlone("device recovered from the error");
    }

    [Theory]
    [InlineData(1, 0, "no step lost")]
    [InlineData(0, 1, "memory and device state as the step count says")]
    public async Task Anything_lost_or_damaged_fails_the_report(long lost, long damaged, string check)
    {
        (_fabric.Lost, _fabric.Damaged) = (lost, damaged);
        await ConsumerAct.PlayAsync(_stage, Cancellation);

        await ClosingAct.PlayAsync(_stage, Cancellation);

        AssertFailedAlone(check);
    }

    [Fact]
    public async Task A_script_that_did_not_come_to_its_end_is_not_ok()
    {
        await ConsumerAct.PlayAsync(_stage, Cancellation);

        Assert.False(_stage.Record.Report().Ok);
    }

    [Fact]
    public async Task A_failover_says_what_its_time_is_made_of()
    {
        await ConsumerAct.PlayAsync(_stage, Cancellation);

        await KilledControlAct.PlayAsync(_stage, Cancellation);

        var failover = Assert.Single(_stage.Record.Report().Failovers);
        Assert.Equal(["process started again", "API up"], failover.Parts.Take(2).Select(part => part.Name));
        Assert.Equal("migration done", failover.Parts[^1].Name);
        Assert.Equal(failover.Seconds, failover.Parts.Sum(part => part.Seconds), 0.01);
    }

    private void Set(string? journal)
    {
        var options = new DemoOptions(new ByteSize(1 << 20), journal, null, 300, "/fabricd", false);
        _fabric = new FakeFabric(options, _time);
        _stage = new Stage(_fabric, options, new PlainScreen(_written), _time, new DemoRecord(options, _time));
    }

    private void AssertFailedAlone(params string[] names) =>
        Assert.Equal(names, _stage.Record.Report().Checks.Where(check => !check.Ok).Select(check => check.Name));
}
