using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Claims;

/// <summary>
/// L3: the claim's actor is killed at every step of a migration and of a rollback, right after the step was journaled and again after its
/// command was carried out but not heard of; it must send the command again and come to the same end.
/// </summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimRecoveryTests(ClaimLab lab)
{
    public static TheoryData<string, string> Migration => new()
    {
        { "MigrationStarted", "beta PrepareTarget" },
        { "TargetReserved", "alpha StartPreCopy" },
        { "SwitchoverStarted", "alpha StopAndCopy" },
        { "SwitchoverStarted", "beta StopAndCopy" },
        { "MigrationCommitted", "beta RunTarget" },
        { "TargetStarted", "alpha Detach" },
    };

    public static TheoryData<string, string> Rollback => new()
    {
        { "RollbackStarted", "alpha ResumeSource" },
        { "RollbackStarted", "beta Detach" },
    };

    [Theory]
    [MemberData(nameof(Migration))]
    public async Task Killed_after_a_step_was_journaled_it_sends_its_command_and_ends_on_the_target(string journaled, string command)
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        AssertSentAfterRecovery(claim, command);
    }

    [Theory]
    [MemberData(nameof(Migration))]
    public async Task Killed_after_a_command_was_carried_out_it_sends_it_again_and_ends_on_the_target(string journaled, string command)
    {
        var claim = await lab.NewClaim().Run();
        KillOnce(claim, command);
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        AssertSentAfterRecovery(claim, command);
        Assert.Single(claim.Journal, journaled);
    }

    [Theory]
    [MemberData(nameof(Rollback))]
    public async Task Killed_after_a_rollback_was_journaled_it_sends_its_commands_and_ends_on_the_source(string journaled, string command)
    {
        var claim = await Stopping();
        claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.CancelFirst);

        await AssertRolledBack(claim);
        AssertSentAfterRecovery(claim, command);
    }

    [Fact]
    public async Task Killed_after_the_source_was_resumed_it_resumes_it_again_and_ends_on_the_source()
    {
        var claim = await Stopping();
        KillOnce(claim, "alpha ResumeSource");
        claim.Tell(claim.CancelFirst);

        await AssertRolledBack(claim);
        AssertSentAfterRecovery(claim, "alpha ResumeSource");
    }

    [Fact]
    public async Task Taken_up_in_the_pre_copy_it_stops_nothing_before_both_ends_have_answered()
    {
        var claim = await lab.NewClaim().Run();
        KillOnce(claim, "alpha StartPreCopy");
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        Assert.Equal(
            ["alpha ReportAttachment", "beta ReportAttachment", "alpha StopAndCopy"],
            claim.Log.SkipWhile(static entry => entry != "life 2").Where(static entry => entry is "alpha ReportAttachment" or "beta ReportAttachment" or "alpha StopAndCopy"));
    }

    [Fact]
    public async Task Taken_up_in_the_pre_copy_it_goes_on_all_the_same_where_an_end_never_answers_in_time()
    {
        var claim = await lab.NewClaim().Run();
        KillOnce(claim, "alpha StartPreCopy");
        var once = claim.Instead;
        claim.Instead = (host, command) => host == "beta" && command is ReportAttachment ? [] : once(host, command);
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
    }

    [Fact]
    public async Task Killed_after_a_claim_was_created_it_attaches_and_runs()
    {
        var claim = lab.NewClaim();
        claim.Fail("ClaimCreated", JournalFault.KeepAndFail);
        claim.Tell(claim.CreateOnAlpha);
        await claim.Until("journal ClaimStarted");

        AssertSentAfterRecovery(claim, "alpha Attach");
    }

    [Fact]
    public async Task Killed_after_a_release_was_journaled_it_detaches()
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail("ReleaseStarted", JournalFault.KeepAndFail);
        claim.Tell(new ReleaseClaim(claim.Id, "ops"));
        await claim.Until("journal ClaimReleased");

        AssertSentAfterRecovery(claim, "alpha Detach");
    }

    [Fact]
    public async Task Killed_after_its_start_was_journaled_it_runs()
    {
        var claim = lab.NewClaim();
        claim.Fail("ClaimStarted", JournalFault.KeepAndFail);
        claim.Tell(claim.CreateOnAlpha);

        await AssertRunsInItsSecondLife(claim);
    }

    [Theory]
    [InlineData("SourceReleased")]
    [InlineData("MigrationRolledBack")]
    public async Task Killed_after_the_last_event_of_a_migration_it_goes_on_to_run(string journaled)
    {
        var claim = await lab.NewClaim().Run();
        claim.Instead = (host, command) => journaled == "MigrationRolledBack" && command is StartPreCopy ? [claim.Failure(host, command)] : null;
        claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.ToBeta);

        await AssertRunsInItsSecondLife(claim);
    }

    [Fact]
    public async Task Killed_between_stop_and_commit_it_counts_the_time_without_it_as_downtime()
    {
        var time = new FakeTimeProvider();
        var claim = await lab.NewClaim(time).Run();
        KillOnce(claim, "alpha StopAndCopy", meanwhile: () => time.Advance(TimeSpan.FromSeconds(7)));
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        Assert.InRange((await claim.View()).Migrations[0].DowntimeMs!.Value, 6990, 7000);
    }

    [Fact]
    public async Task Killed_in_the_pre_copy_it_tells_how_long_all_of_it_took()
    {
        var time = new FakeTimeProvider();
        var claim = await lab.NewClaim(time).Run();
        KillOnce(claim, "alpha StartPreCopy", meanwhile: () => time.Advance(TimeSpan.FromSeconds(7)));
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        Assert.Equal(7000, (await claim.View()).Migrations[0].Phases.Single(phase => phase.Name == "pre-copy").Ms);
    }

    [Fact]
    public async Task Killed_between_stop_and_rollback_it_counts_the_time_without_it_as_downtime()
    {
        var time = new FakeTimeProvider();
        var claim = lab.NewClaim(time);
        claim.Instead = (host, command) => host == "beta" && command is StopAndCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StopAndCopy");
        time.Advance(TimeSpan.FromSeconds(5));
        claim.Tell(ClaimUnderTest.Kill);
        await claim.Until("life 2");
        claim.Tell(claim.CancelFirst);

        await AssertRolledBack(claim);
        Assert.InRange((await claim.View()).Migrations[0].DowntimeMs!.Value, 5000, 5010);
    }

    [Fact]
    public async Task Killed_in_every_step_it_still_ends_on_the_target()
    {
        var claim = await lab.NewClaim().Run();
        string[] steps = ["MigrationStarted", "TargetReserved", "SwitchoverStarted", "MigrationCommitted", "TargetStarted"];
        foreach (var journaled in steps)
            claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.ToBeta);

        await AssertMigrated(claim);
        Assert.Contains($"life {steps.Length + 1}", claim.Log);
    }

    /// <summary>A claim whose source stands and whose target never says that it is loaded.</summary>
    private async Task<ClaimUnderTest> Stopping()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => host == "beta" && command is StopAndCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StopAndCopy");
        return claim;
    }

    /// <summary>The host carries a command out, and the claim's actor dies before it hears of that.</summary>
    private static void KillOnce(ClaimUnderTest claim, string entry, Action? meanwhile = null)
    {
        var killed = false;
        var before = claim.Instead;
        claim.Instead = (host, command) =>
        {
            if (killed || $"{host} {command.GetType().Name}" != entry)
                return before(host, command);
            killed = true;
            claim.CarryOut(host, command);
            meanwhile?.Invoke();
            claim.Tell(ClaimUnderTest.Kill);
            return [];
        };
    }

    // Asked before, its first life takes the question with it.
    private static async Task AssertRunsInItsSecondLife(ClaimUnderTest claim)
    {
        await claim.Until("life 2");

        Assert.Equal(ClaimPhase.Running, (await claim.View()).Phase);
    }

    private static async Task AssertMigrated(ClaimUnderTest claim)
    {
        await claim.Until("journal SourceReleased");
        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "beta", "committed"), (view.Phase, view.Host, view.Migrations[0].Outcome));
        Assert.Equal(["beta"], claim.Running);
        Assert.Equal(1, claim.MostRunning);
    }

    private static async Task AssertRolledBack(ClaimUnderTest claim)
    {
        await claim.Until("journal MigrationRolledBack");
        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "alpha", "cancelled"), (view.Phase, view.Host, view.Migrations[0].Outcome));
        Assert.Equal(["alpha"], claim.Running);
        Assert.Equal(1, claim.MostRunning);
    }

    private static void AssertSentAfterRecovery(ClaimUnderTest claim, string command) =>
        Assert.Contains(command, claim.Log.SkipWhile(entry => entry != "life 2"));
}
