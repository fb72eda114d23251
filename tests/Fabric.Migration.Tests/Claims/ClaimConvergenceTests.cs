using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Claims;

/// <summary>What a claim does when its pre-copy gets nowhere, and when a device's start-up state is not at the target yet.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimConvergenceTests(ClaimLab lab)
{
    private readonly FakeTimeProvider time = new(DateTimeOffset.UnixEpoch.AddYears(50));

    [Fact]
    public async Task A_migration_that_does_not_converge_says_so_once_and_goes_on_until_its_timeout()
    {
        var claim = await FruitlessAsync(NoConvergence.Continue, rounds: 12);

        var view = await claim.View();
        var told = await claim.Told("migration.not-converging");
        Assert.Equal(
            $"{claim.Id}.1: after 7 rounds a stop would take some 5020 ms, and has not become shorter than 5020 ms in 5 rounds; 1000 ms are allowed, which "
            + "needs a prediction of 500 ms; 900000 bytes change each second, and 1000000 are sent; it goes on until its timeout of 60 s; allow a longer "
            + "stop, or more bandwidth",
            told.Sentence);
        Assert.Single(claim.Events, static one => one.Kind == "migration.not-converging");
        Assert.Equal(MigrationStep.PreCopy, view.Migrations[0].Step);
    }

    [Fact]
    public async Task One_that_is_to_be_stopped_all_the_same_is_and_has_twice_its_prediction_as_its_limit()
    {
        var claim = await FruitlessAsync(NoConvergence.Stop, rounds: 6);
        await claim.Until("journal SourceReleased");

        Assert.Equal("committed", (await claim.View()).Migrations[0].Outcome);
        Assert.EndsWith(
            "5020 ms of downtime predicted, 10040 allowed since the pre-copy does not converge, in place of 1000",
            (await claim.Told("migration.switchover")).Sentence,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stop_that_was_made_all_the_same_is_not_undone_at_the_limit_of_the_migration()
    {
        var claim = await FruitlessAsync(NoConvergence.Stop, rounds: 6, (_, command) => command is StopAndCopy ? [] : null);
        await claim.Until("beta StopAndCopy");
        time.Advance(TimeSpan.FromSeconds(8));
        await claim.Until("beta StopAndCopy", count: 3);
        Assert.DoesNotContain("RollbackStarted", claim.Journal);

        time.Advance(TimeSpan.FromSeconds(2));

        await claim.Until("journal MigrationRolledBack");
        Assert.Equal("the stop took longer than its limit of 10040 ms", (await claim.View()).Migrations[0].Reason);
    }

    [Fact]
    public async Task One_that_is_to_be_called_off_is_and_the_source_runs_on()
    {
        var claim = await FruitlessAsync(NoConvergence.Cancel, rounds: 6);
        await claim.Until("journal MigrationRolledBack");

        var migration = (await claim.View()).Migrations[0];
        Assert.Equal(("cancelled", true), (migration.Outcome, migration.Reason!.StartsWith("it does not converge: after 7 rounds", StringComparison.Ordinal)));
        Assert.Equal(["alpha"], claim.Running);
    }

    [Fact]
    public async Task How_fast_state_changes_is_shown_and_kept()
    {
        var claim = await FruitlessAsync(NoConvergence.Cancel, rounds: 3);
        var shown = (await claim.View()).Migrations[0].DirtyBytesPerSecond;
        await claim.Ask<ClaimAccepted>(claim.CancelFirst);
        await claim.Until("journal MigrationRolledBack");

        Assert.Equal((900_000L, 900_000L), (shown, (await claim.View()).Migrations[0].DirtyBytesPerSecond));
    }

    [Fact]
    public async Task A_device_whose_start_up_state_is_not_acknowledged_is_not_stopped_MG_26()
    {
        var claim = await PreCopyAsync(NoConvergence.Stop);
        for (var round = 2; round < 12; round++)
            await TellAsync(claim, Progress(claim, round) with { RemainingBytes = 10, Starting = [ClaimUnderTest.Device] });
        Assert.DoesNotContain("SwitchoverStarted", claim.Journal);

        await TellAsync(claim, Progress(claim, 12) with { RemainingBytes = 10 });

        await claim.Until("journal SwitchoverStarted");
    }

    [Theory]
    [InlineData("alpha", HostPresence.Absent)]
    [InlineData("alpha", HostPresence.Unreachable)]
    [InlineData("alpha", HostPresence.Leaving)]
    [InlineData("beta", HostPresence.Unreachable)]
    [InlineData("beta", HostPresence.Leaving)]
    public async Task A_workload_is_not_stopped_while_one_of_its_hosts_could_not_be_told_to_run_it(string host, HostPresence presence)
    {
        var claim = await PreCopyAsync(NoConvergence.Stop);
        claim.Presences[host] = presence;
        for (var round = 2; round < 12; round++)
            await TellAsync(claim, Progress(claim, round) with { RemainingBytes = 10 });
        Assert.DoesNotContain("SwitchoverStarted", claim.Journal);

        claim.Presences.Clear();
        await TellAsync(claim, Progress(claim, 12) with { RemainingBytes = 10 });

        await claim.Until("journal SwitchoverStarted");
    }

    private async Task<ClaimUnderTest> FruitlessAsync(NoConvergence strategy, int rounds, Func<string, IHostCommand, IHostReport[]?>? instead = null)
    {
        var claim = await PreCopyAsync(strategy, instead);
        for (var round = 2; round < rounds + 2; round++)
            await TellAsync(claim, Progress(claim, round));
        return claim;
    }

    private async Task<ClaimUnderTest> PreCopyAsync(NoConvergence strategy, Func<string, IHostCommand, IHostReport[]?>? instead = null)
    {
        var claim = lab.NewClaim(time);
        claim.Instead = (host, command) => command is StartPreCopy ? [] : instead?.Invoke(host, command);
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 1000, OnNoConvergence = strategy });
        await claim.Until("alpha StartPreCopy");
        return claim;
    }

    /// <summary>The claim has heard it before the time goes on.</summary>
    private async Task TellAsync(ClaimUnderTest claim, PreCopyProgress told)
    {
        claim.Tell(told);
        await claim.View();
        time.Advance(TimeSpan.FromSeconds(1.25));
    }

    private static PreCopyProgress Progress(ClaimUnderTest claim, int round) => new(
        claim.Id, "alpha", 2, 1, round, 4000, RemainingBytes: 5_000_000, BytesPerSecond: 1_000_000, RoundEnded: true, DirtyBytesPerSecond: 900_000);
}
