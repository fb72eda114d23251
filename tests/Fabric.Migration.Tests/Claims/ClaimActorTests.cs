using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Claims;

/// <summary>The saga with hosts that do as they are told, or not.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimActorTests(ClaimLab lab)
{
    // ---- Creating --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_created_claim_runs_where_it_was_planned()
    {
        var claim = await lab.NewClaim().Run();

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "alpha", ClaimUnderTest.Device, 1L), (view.Phase, view.Host, view.Device, view.Generation));
    }

    [Fact]
    public async Task A_claim_that_no_host_can_run_changes_nothing()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is PlanTarget ? [new TargetPlanned(claim.Id, host, command.Generation, [], ["alpha is full."])] : null;

        var refused = await claim.Ask<ClaimRefused>(claim.CreateOnAlpha);

        Assert.Equal((RefusalCode.Plan, "alpha is full."), (refused.Code, refused.Sentence));
        Assert.Equal(["life 1", "alpha PlanTarget", "passivated"], claim.Log);
    }

    [Fact]
    public async Task A_claim_that_names_no_host_is_told_what_each_said()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is PlanTarget ? [new TargetPlanned(claim.Id, host, command.Generation, [], [$"{host} is full."])] : null;

        var refused = await claim.Ask<ClaimRefused>(claim.CreateOnAlpha with { Host = null });

        Assert.Equal("alpha is full. beta is full.", refused.Sentence);
    }

    [Fact]
    public async Task A_host_that_is_not_there_is_refused()
    {
        var claim = lab.NewClaim();

        var refused = await claim.Ask<ClaimRefused>(claim.CreateOnAlpha with { Host = "gamma" });

        Assert.Equal((RefusalCode.Plan, "There is no host gamma in the fabric; list the hosts."), (refused.Code, refused.Sentence));
    }

    [Fact]
    public async Task A_claim_that_was_never_created_is_not_found()
    {
        var claim = lab.NewClaim();

        Assert.Equal(RefusalCode.NotFound, (await claim.Ask<ClaimRefused>(new DescribeClaim(claim.Id))).Code);
    }

    [Fact]
    public async Task Creating_a_claim_again_is_the_same_claim()
    {
        var claim = await lab.NewClaim().Run();

        await claim.Ask<ClaimAccepted>(claim.CreateOnAlpha);

        Assert.Single(claim.Journal, e => e == "ClaimCreated");
    }

    [Fact]
    public async Task Another_claim_of_the_same_id_is_a_conflict()
    {
        var claim = await lab.NewClaim().Run();
        CreateClaim[] others =
        [
            claim.CreateOnAlpha with { Host = "beta" }, claim.CreateOnAlpha with { Devices = [new DeviceAsk("accelerator", "fab0:01:00.2")] },
            claim.CreateOnAlpha with { Devices = [new DeviceAsk("nvme")] },
            claim.CreateOnAlpha with { MemoryBytes = 2 << 20 }, claim.CreateOnAlpha with { StepsPerSecond = 2000 },
        ];

        foreach (var other in others)
        {
            var refused = await claim.Ask<ClaimRefused>(other);
            Assert.Equal(
                (RefusalCode.Conflict, $"Claim {claim.Id} exists already, running on alpha/fab0:01:00.1 with model accelerator; choose another id."),
                (refused.Code, refused.Sentence));
        }
    }

    [Fact]
    public async Task A_claim_whose_requester_waits_no_longer_is_not_created()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);

        var refused = await claim.Ask<ClaimRefused>(claim.CreateOnAlpha with { ValidUntil = time.GetUtcNow().AddSeconds(-1) });

        Assert.Equal(RefusalCode.Timeout, refused.Code);
        Assert.Empty(claim.Journal);
        Assert.DoesNotContain("alpha PlanTarget", claim.Log);
    }

    [Fact]
    public async Task A_host_that_does_not_hear_the_first_question_is_asked_again()
    {
        var claim = lab.NewClaim();
        var lost = 0;
        claim.Instead = (_, command) => command is PlanTarget && lost++ == 0 ? [] : null;

        await claim.Ask<ClaimAccepted>(claim.CreateOnAlpha);

        Assert.Equal(2, claim.Log.Count(entry => entry == "alpha PlanTarget"));
    }

    [Fact]
    public async Task A_device_that_cannot_be_attached_fails_the_claim()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is Attach ? [claim.Failure(host, command)] : null;
        await claim.Ask<ClaimAccepted>(claim.CreateOnAlpha);
        await claim.Until("journal ClaimFailed");

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Failed, "it broke"), (view.Phase, view.Message));
    }

    // ---- Migrating -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_migrated_claim_runs_on_its_target()
    {
        var claim = await Migrated();

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "beta", 2L, "committed", true), (view.Phase, view.Host, view.Generation, view.Migrations[0].Outcome, view.Migrations[0].Verified));
    }

    [Fact]
    public async Task A_migrated_claim_ran_on_one_host_at_a_time_L1()
    {
        var claim = await Migrated();

        Assert.Equal((1, "beta"), (claim.MostRunning, Assert.Single(claim.Running)));
    }

    [Fact]
    public async Task A_migration_journals_each_step_once()
    {
        var claim = await Migrated();

        Assert.Equal(
            ["ClaimCreated", "ClaimStarted", "MigrationStarted", "TargetReserved", "SwitchoverStarted", "MigrationCommitted", "TargetStarted", "SourceReleased"],
            claim.Journal);
    }

    [Theory]
    [InlineData("ClaimCreated", "alpha Attach")]
    [InlineData("MigrationStarted", "beta PrepareTarget")]
    [InlineData("TargetReserved", "alpha StartPreCopy")]
    [InlineData("SwitchoverStarted", "alpha StopAndCopy")]
    [InlineData("SwitchoverStarted", "beta StopAndCopy")]
    [InlineData("MigrationCommitted", "beta RunTarget")]
    [InlineData("TargetStarted", "alpha Detach")]
    public async Task No_command_of_a_step_reaches_a_host_before_the_step_is_in_the_journal(string journaled, string command)
    {
        var claim = await Migrated();

        AssertOrder(claim, $"journal {journaled}", command);
    }

    [Theory]
    [InlineData("alpha ResumeSource")]
    [InlineData("beta Detach")]
    public async Task No_command_of_a_rollback_reaches_a_host_before_it_is_in_the_journal(string command)
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, sent) => sent is StartPreCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StartPreCopy");
        await claim.Ask<ClaimAccepted>(claim.CancelFirst);
        await claim.Until(command);

        AssertOrder(claim, "journal RollbackStarted", command);
    }

    [Fact]
    public async Task A_plan_that_is_refused_changes_nothing()
    {
        var claim = await lab.NewClaim().Run();
        claim.Instead = (host, command) => command is PlanTarget ? [new TargetPlanned(claim.Id, host, command.Generation, [], ["beta is full."])] : null;

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta);

        Assert.Equal((RefusalCode.Plan, "beta is full."), (refused.Code, refused.Sentence));
        Assert.Equal(("ClaimStarted", ClaimPhase.Running), (claim.Journal[^1], (await claim.View()).Phase));
    }

    [Fact]
    public async Task A_target_is_asked_for_what_the_source_has()
    {
        var claim = await lab.NewClaim().Run();
        PlanTarget? asked = null;
        claim.Instead = (host, command) =>
        {
            asked = command as PlanTarget ?? asked;
            return null;
        };

        await claim.Ask<ClaimAccepted>(claim.ToBeta);

        Assert.Equal([new DeviceNeed("accelerator", null, 4096, "accelerator-vf", "1b36:fab1")], asked!.Devices);
    }

    [Fact]
    public async Task A_migration_to_where_the_claim_runs_is_refused()
    {
        var claim = await lab.NewClaim().Run();

        Assert.Equal(RefusalCode.Plan, (await claim.Ask<ClaimRefused>(claim.ToBeta with { TargetHost = "alpha" })).Code);
    }

    [Fact]
    public async Task A_second_migration_meanwhile_is_a_conflict()
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command is PrepareTarget ? [] : null;
        await claim.Migrate();

        Assert.Equal(RefusalCode.Conflict, (await claim.Ask<ClaimRefused>(claim.ToBeta)).Code);
    }

    [Fact]
    public async Task A_release_meanwhile_is_a_conflict()
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command is PrepareTarget ? [] : null;
        await claim.Migrate();

        Assert.Equal(RefusalCode.Conflict, (await claim.Ask<ClaimRefused>(new ReleaseClaim(claim.Id, "ops"))).Code);
    }

    [Fact]
    public async Task A_report_of_an_older_generation_is_not_believed_L1()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is PrepareTarget prepare
            ? [new TargetPrepared(claim.Id, host, command.Generation - 1, prepare.Migration, "127.0.0.1:1", [])]
            : null;
        await claim.Migrate();
        await claim.Until("beta PrepareTarget", count: 2);

        Assert.Equal(MigrationStep.Reserve, (await claim.View()).Migrations[0].Step);
    }

    [Fact]
    public async Task A_command_that_gets_no_report_is_sent_again()
    {
        var claim = lab.NewClaim();
        var lost = 0;
        claim.Instead = (_, command) => command is RunTarget && lost++ == 0 ? [] : null;
        await claim.Migrate();

        await claim.Until("journal SourceReleased");

        Assert.Equal(2, claim.Log.Count(entry => entry == "beta RunTarget"));
    }

    // ---- Rolling back ----------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("beta", nameof(PrepareTarget))]
    [InlineData("alpha", nameof(StartPreCopy))]
    [InlineData("alpha", nameof(StopAndCopy))]
    [InlineData("beta", nameof(StopAndCopy))]
    public async Task A_command_that_fails_before_the_commit_is_rolled_back(string host, string name)
    {
        var claim = lab.NewClaim();
        claim.Instead = (at, command) => at == host && command.GetType().Name == name ? [claim.Failure(at, command)] : null;
        await claim.Migrate();

        await AssertRolledBack(claim, name switch
        {
            nameof(PrepareTarget) => "beta could not receive from alpha: it broke",
            nameof(StartPreCopy) => "alpha could not send to beta: it broke",
            _ => $"{host}: it broke",
        });
    }

    [Theory]
    [InlineData(5001, "ab")]
    [InlineData(5000, "ac")]
    public async Task What_did_not_arrive_whole_is_never_committed_L2(long bytes, string checksum)
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => host == "beta" && command is StopAndCopy stop
            ? [new TargetLoaded(claim.Id, host, command.Generation, stop.Migration, [new StreamSum(bytes, checksum)], LoadMs: 1)]
            : null;
        await claim.Migrate();

        await AssertRolledBack(claim, $"what beta received ({bytes} bytes, {checksum}) is not what alpha sent (5000 bytes, ab)");
    }

    [Fact]
    public async Task A_stop_past_its_limit_is_rolled_back()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => host == "beta" && command is StopAndCopy ? [] : null;
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 200 });

        await AssertRolledBack(claim, "the stop took longer than its limit of 200 ms");
    }

    [Fact]
    public async Task A_target_that_is_not_prepared_in_time_is_rolled_back()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);
        claim.Instead = (_, command) => command is PrepareTarget ? [] : null;
        await claim.Migrate();
        time.Advance(TimeSpan.FromSeconds(21));

        await AssertRolledBack(claim, "beta did not open fab0:01:00.1 within 20 s");
    }

    [Fact]
    public async Task A_pre_copy_without_progress_is_rolled_back()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);
        claim.Instead = (_, command) => command is StartPreCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StartPreCopy");
        time.Advance(TimeSpan.FromSeconds(21));

        await AssertRolledBack(claim, "the pre-copy made no progress for 20 s");
    }

    [Fact]
    public async Task A_migration_past_its_timeout_is_rolled_back()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);
        claim.Instead = (_, command) => command is StartPreCopy ? [] : null;
        await claim.Migrate(claim.ToBeta with { TimeoutMs = 5000 });
        await claim.Until("alpha StartPreCopy");
        time.Advance(TimeSpan.FromSeconds(6));

        await AssertRolledBack(claim, "it did not end within 5 s");
    }

    [Fact]
    public async Task A_pre_copy_that_never_got_small_enough_says_so_when_its_time_is_up()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);
        claim.Instead = (host, command) => command is StartPreCopy start
            ? [new PreCopyProgress(claim.Id, host, command.Generation, start.Migration, 2, 4000, RemainingBytes: 5_000_000, BytesPerSecond: 1_000_000, RoundEnded: true)]
            : null;
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 1000, TimeoutMs = 5000 });
        await claim.Until("alpha StartPreCopy", count: 2);
        time.Advance(TimeSpan.FromSeconds(6));

        await AssertRolledBack(
            claim,
            "it did not end within 5 s: the workload changes its state so fast that a stop would take some 5020 ms, and the limit of 1000 ms "
            + "needs a prediction of 500 ms; allow a longer stop, or more bandwidth");
    }

    [Fact]
    public async Task A_migration_that_was_rolled_back_tells_how_long_each_phase_took()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = lab.NewClaim(time);
        claim.Instead = (_, command) => command is StartPreCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StartPreCopy");
        time.Advance(TimeSpan.FromSeconds(3));
        await claim.Ask<ClaimAccepted>(claim.CancelFirst);
        await claim.Until("journal MigrationRolledBack");

        Assert.Equal(
            [new PhaseView("reserve", 0, false), new PhaseView("pre-copy", 3000, false), new PhaseView("rollback", 0, false)],
            (await claim.View()).Migrations[0].Phases);
    }

    [Fact]
    public async Task A_pre_copy_that_cannot_keep_the_limit_goes_on()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is StartPreCopy start
            ? [new PreCopyProgress(claim.Id, host, command.Generation, start.Migration, 2, 4000, RemainingBytes: 5_000_000, BytesPerSecond: 1_000_000, RoundEnded: true)]
            : null;
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 1000 });
        await claim.Until("alpha StartPreCopy", count: 2);

        Assert.Equal(MigrationStep.PreCopy, (await claim.View()).Migrations[0].Step);
    }

    [Fact]
    public async Task A_claim_that_was_rolled_back_migrates_again()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is PrepareTarget ? [claim.Failure(host, command)] : null;
        await claim.Migrate();
        await claim.Until("journal MigrationRolledBack");
        claim.Instead = (_, _) => null;

        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", 3L), ((await claim.View()).Host, (await claim.View()).Generation));
    }

    [Fact]
    public async Task The_source_is_looked_at_before_the_target_whenever_a_migration_is_planned()
    {
        var claim = await lab.NewClaim().Run();
        await claim.View();

        await claim.Ask<ClaimAccepted>(claim.ToBeta);

        Assert.Equal(["alpha ReportAttachment", "beta PlanTarget"], claim.Log.SkipWhile(entry => entry != "journal ClaimStarted").Where(entry => entry is "alpha ReportAttachment" or "beta PlanTarget"));
    }

    [Fact]
    public async Task A_claim_whose_device_turns_out_to_be_gone_is_refused_its_migration_with_the_reason()
    {
        var claim = await lab.NewClaim().Run();
        claim.Instead = (host, command) => command is ReportAttachment ? [claim.Failure(host, command, gone: true)] : null;

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta);

        Assert.Equal((RefusalCode.Plan, "it broke The state of the device died with it."), (refused.Code, refused.Sentence));
    }

    [Fact]
    public async Task A_migration_that_begins_shows_nothing_of_the_one_before_it()
    {
        var claim = lab.NewClaim();
        await claim.Migrate();
        await claim.Until("journal SourceReleased");

        var accepted = await claim.Ask<ClaimAccepted>(claim.ToBeta with { TargetHost = "alpha" });

        Assert.Equal((0L, 0L, 0), (accepted.Claim.Migrations[1].Bytes, accepted.Claim.Migrations[1].RemainingBytes, accepted.Claim.Migrations[1].Rounds));
    }

    // ---- Cancelling ------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(nameof(PrepareTarget), "beta PrepareTarget")]
    [InlineData(nameof(StartPreCopy), "alpha StartPreCopy")]
    [InlineData(nameof(StopAndCopy), "alpha StopAndCopy")]
    public async Task A_cancelled_migration_leaves_the_claim_where_it_runs(string held, string until)
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command.GetType().Name == held ? [] : null;
        await claim.Migrate();
        await claim.Until(until);

        await claim.Ask<ClaimAccepted>(claim.CancelFirst);

        await AssertRolledBack(claim, "cancelled by ops", "cancelled");
    }

    [Fact]
    public async Task A_committed_migration_cannot_be_cancelled()
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command is RunTarget ? [] : null;
        await claim.Migrate();
        await claim.Until("beta RunTarget");

        var refused = await claim.Ask<ClaimRefused>(claim.CancelFirst);

        Assert.Equal((RefusalCode.Conflict, $"Migration {claim.Id}.1 is committed: it moved the claim to beta. Migrate it to alpha instead."), (refused.Code, refused.Sentence));
    }

    [Fact]
    public async Task A_migration_that_is_over_cannot_be_cancelled()
    {
        var claim = await Migrated();

        Assert.Equal(RefusalCode.Conflict, (await claim.Ask<ClaimRefused>(claim.CancelFirst)).Code);
    }

    [Fact]
    public async Task A_migration_that_never_was_is_not_found()
    {
        var claim = await lab.NewClaim().Run();

        Assert.Equal(RefusalCode.NotFound, (await claim.Ask<ClaimRefused>(claim.CancelFirst)).Code);
    }

    [Fact]
    public async Task Cancelling_twice_is_accepted_twice()
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command is PrepareTarget or ResumeSource ? [] : null;
        await claim.Migrate();
        await claim.Ask<ClaimAccepted>(claim.CancelFirst);

        await claim.Ask<ClaimAccepted>(claim.CancelFirst);

        Assert.Single(claim.Journal, e => e == "RollbackStarted");
    }

    // ---- The journal -----------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(nameof(JournalFault.Fail))]
    [InlineData(nameof(JournalFault.Reject))]
    public async Task A_claim_that_cannot_be_written_down_is_refused(string fault)
    {
        var claim = lab.NewClaim();
        claim.Fail("ClaimCreated", Enum.Parse<JournalFault>(fault));

        Assert.Equal(RefusalCode.JournalUnavailable, (await claim.Ask<ClaimRefused>(claim.CreateOnAlpha)).Code);
        Assert.DoesNotContain("alpha Attach", claim.Log);
    }

    [Fact]
    public async Task A_migration_that_cannot_be_written_down_is_refused()
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail("MigrationStarted", JournalFault.Fail);

        Assert.Equal(RefusalCode.JournalUnavailable, (await claim.Ask<ClaimRefused>(claim.ToBeta)).Code);
    }

    [Fact]
    public async Task A_migration_that_cannot_be_written_down_changes_nothing()
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail("MigrationStarted", JournalFault.Fail);
        await claim.Ask<ClaimRefused>(claim.ToBeta);
        await claim.Until("life 2");

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "alpha", 1L), (view.Phase, view.Host, view.Generation));
        Assert.DoesNotContain("beta PrepareTarget", claim.Log);
    }

    [Fact]
    public async Task A_migration_that_the_journal_rejects_changes_nothing()
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail("MigrationStarted", JournalFault.Reject);
        await claim.Ask<ClaimRefused>(claim.ToBeta);

        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");

        Assert.Equal(2, (await claim.View()).Generation);
    }

    [Theory]
    [InlineData(nameof(JournalFault.Fail))]
    [InlineData(nameof(JournalFault.Reject))]
    public async Task A_commit_that_cannot_be_written_down_runs_nothing_twice_L1(string fault)
    {
        var claim = lab.NewClaim();
        claim.Fail("MigrationCommitted", Enum.Parse<JournalFault>(fault));
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 1000 });
        var ends = new[] { claim.Until("journal SourceReleased"), claim.Until("journal MigrationRolledBack") };

        await await Task.WhenAny(ends);

        Assert.Equal(1, claim.MostRunning);
        Assert.Single(claim.Running);
    }

    // ---- Ends ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_released_claim_frees_its_device()
    {
        var claim = await lab.NewClaim().Run();
        await claim.Ask<ClaimAccepted>(new ReleaseClaim(claim.Id, "ops"));
        await claim.Until("passivated");

        Assert.Empty(claim.Running);
        Assert.Equal("ClaimReleased", claim.Journal[^1]);
    }

    [Fact]
    public async Task A_claim_whose_host_lost_its_device_says_so()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = await lab.NewClaim(time).Run();
        claim.Instead = (host, command) => command is ReportAttachment ? [claim.Failure(host, command, gone: true)] : null;
        time.Advance(TimeSpan.FromSeconds(4));
        await claim.Until("journal ClaimFailed");

        Assert.Equal("it broke The state of the device died with it.", (await claim.View()).Message);
    }

    [Fact]
    public async Task A_claim_whose_host_tells_nothing_any_more_says_so()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = await lab.NewClaim(time).Run();
        claim.Instead = (_, command) => command is ReportAttachment ? [] : null;
        time.Advance(TimeSpan.FromSeconds(4));

        Assert.Equal("alpha has not told yet what became of the claim's device", (await claim.View()).Message);
    }

    [Fact]
    public async Task A_target_that_is_lost_after_the_commit_fails_the_claim_and_starts_no_source_L1()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is RunTarget ? [claim.Failure(host, command, gone: true)] : null;
        await claim.Migrate();
        await claim.Until("journal ClaimFailed");

        Assert.Empty(claim.Running);
        // It never ran again: there is no downtime to tell.
        Assert.Equal(("failed", null), ((await claim.View()).Migrations[0].Outcome, (await claim.View()).Migrations[0].DowntimeMs));
    }

    [Fact]
    public async Task A_source_that_does_not_tell_any_more_that_it_stopped_leaves_the_claim_to_a_target_that_has_everything()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => host == "alpha" && command is StopAndCopy ? Unheard(claim, host, command) : null;
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 100 });
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", 1), (Assert.Single(claim.Running), claim.MostRunning));
        Assert.EndsWith("; alpha has not told that it stopped", (await claim.Told("migration.committed")).Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_source_that_is_lost_in_the_stop_leaves_the_claim_to_a_target_that_has_everything()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => host == "alpha" && command is StopAndCopy
            ? [.. Unheard(claim, host, command), claim.Failure(host, command, gone: true)]
            : null;
        await claim.Migrate();
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", 1), (Assert.Single(claim.Running), claim.MostRunning));
        Assert.EndsWith(", and the source is lost (alpha: it broke)", (await claim.Told("migration.committed")).Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_source_that_is_lost_in_the_stop_takes_the_claim_with_it_where_the_target_lacks_something()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => (host, command) switch
        {
            ("alpha", StopAndCopy) => [.. Unheard(claim, host, command), claim.Failure(host, command, gone: true)],
            ("alpha", ResumeSource) => [claim.Failure(host, command, gone: true)],
            ("beta", StopAndCopy) => [],
            _ => null,
        };
        await claim.Migrate(claim.ToBeta with { DowntimeLimitMs = 100 });
        await claim.Until("journal ClaimFailed");

        Assert.Equal("alpha: it broke", (await claim.Told("migration.rolling-back")).Sentence);
    }

    /// <summary>Carried out, and nobody hears of it.</summary>
    private static IHostReport[] Unheard(ClaimUnderTest claim, string host, IHostCommand command)
    {
        claim.CarryOut(host, command);
        return [];
    }

    [Fact]
    public async Task A_source_that_is_lost_in_a_rollback_fails_the_claim_and_starts_no_target_L1()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is StopAndCopy or ResumeSource ? [claim.Failure(host, command, gone: true)] : null;
        await claim.Migrate();
        await claim.Until("journal ClaimFailed");

        Assert.DoesNotContain("beta RunTarget", claim.Log);
    }

    [Fact]
    public async Task What_a_host_should_not_hold_is_taken_from_it()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(ClaimUnderTest.Held(claim.Id, "beta", 1));

        await claim.Until("beta Detach");
    }

    [Fact]
    public async Task One_that_knows_less_than_a_host_closes_nothing_there_and_is_taken_up_again_L1()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(new AttachmentStatus(claim.Id, "beta", 9, [new AttachedDevice(ClaimUnderTest.Device, null, null, 0, null)], AttachmentPhase.Running, WorkloadCounters.None));
        await claim.Until("life 2");

        Assert.DoesNotContain("beta Detach", claim.Log);
    }

    [Fact]
    public async Task One_that_is_not_closes_nothing_on_the_word_of_a_journal_that_it_read_long_ago_L1()
    {
        var claim = lab.NewClaim(new FakeTimeProvider());
        var held = new AttachmentStatus(claim.Id, "beta", 1, [new AttachedDevice(ClaimUnderTest.Device, null, null, 0, null)], AttachmentPhase.Running, WorkloadCounters.None);
        await claim.Ask<ClaimRefused>(new DescribeClaim(claim.Id));
        claim.Tell(held);
        await claim.Until("life 2");
        Assert.DoesNotContain("beta Detach", claim.Log);

        // Taken up for it, it has just read that there is no such claim.
        claim.Tell(held);
        await claim.Until("beta Detach");
    }

    [Fact]
    public async Task One_that_is_taken_up_fences_whoever_had_it_before()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(ClaimUnderTest.Kill);

        await claim.Until("journal ClaimTakenUp");
    }

    [Fact]
    public async Task A_device_is_opened_in_the_life_of_the_host_that_was_asked_L1()
    {
        var claim = lab.NewClaim();
        var lives = new List<long>();
        claim.Instead = (host, command) =>
        {
            if (command is Attach attach)
                lives.Add(attach.Life);
            return command is PlanTarget ? [new TargetPlanned(claim.Id, host, 0, [ClaimUnderTest.Device], [], Life: 77)] : null;
        };
        await claim.Run();

        Assert.All(lives, life => Assert.Equal(77, life));
        Assert.NotEmpty(lives);
    }

    [Fact]
    public async Task A_verified_claim_tells_what_its_host_found()
    {
        var claim = await lab.NewClaim().Run();
        var found = new VerificationResult(1, 2, 3, 0);
        claim.Instead = (host, command) => command is VerifyAttachment ? [new AttachmentVerified(claim.Id, host, command.Generation, found, null)] : null;

        Assert.Equal(found, (await claim.Ask<ClaimVerified>(new VerifyClaim(claim.Id))).Result);
    }

    private async Task<ClaimUnderTest> Migrated()
    {
        var claim = lab.NewClaim();
        await claim.Migrate();
        await claim.Until("journal SourceReleased");
        return claim;
    }

    private static async Task AssertRolledBack(ClaimUnderTest claim, string reason, string outcome = "rolled-back")
    {
        await claim.Until("journal MigrationRolledBack");
        var view = await claim.View();

        Assert.Equal(
            (ClaimPhase.Running, "alpha", outcome, reason), (view.Phase, view.Host, view.Migrations[0].Outcome, view.Migrations[0].Reason));
        Assert.Equal(["alpha"], claim.Running);
        Assert.DoesNotContain("MigrationCommitted", claim.Journal);
        Assert.DoesNotContain("beta RunTarget", claim.Log);
    }

    private static void AssertOrder(ClaimUnderTest claim, string first, string second)
    {
        var log = claim.Log;
        Assert.InRange(Array.IndexOf(log, first), 0, Array.IndexOf(log, second));
    }
}
