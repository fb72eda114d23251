using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Claims;

/// <summary>A claim whose device is taken out of service, or lost: moved away, started afresh, stopped or left, as its policy says.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimTroubleTests(ClaimLab lab)
{
    private const string Sibling = "fab0:01:00.2";

    [Fact]
    public async Task A_consumer_that_a_failed_command_left_standing_is_lost_with_its_device()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(new AttachmentStatus(claim.Id, "alpha", 1, [new AttachedDevice(ClaimUnderTest.Device, null, null, 0, null)], AttachmentPhase.Failed, WorkloadCounters.None));
        await claim.Until("journal ClaimFailed");

        Assert.Contains("what it was told last has failed, and its consumer stands", (await claim.View()).Message, StringComparison.Ordinal);
    }

    // ---- Evacuating ------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(DeviceFailurePolicy.Evacuate)]
    [InlineData(DeviceFailurePolicy.Restart)]
    public async Task A_claim_whose_device_can_be_read_is_moved_to_another_host(DeviceFailurePolicy policy)
    {
        var claim = await lab.NewClaim().Run(policy);
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "beta", "fabric", "alpha/fab0:01:00.1 is out of service: it smells"), (view.Phase, view.Host, view.Migrations[0].RequestedBy, view.Migrations[0].Cause));
        Assert.Equal(("evacuated", "beta", "it smells", true, 1), (view.Trouble!.Outcome, view.Trouble.ToHost, view.Trouble.Reason, view.Trouble.Readable, view.Trouble.Attempts));
        Assert.Equal((1, "beta"), (claim.MostRunning, Assert.Single(claim.Running)));
        Assert.True(view.Trouble.Ms >= view.Trouble.DowntimeMs, $"{view.Trouble}");
    }

    [Fact]
    public async Task What_was_heard_is_in_the_journal_before_a_target_is_asked()
    {
        var claim = await Evacuated();

        Assert.True(Array.IndexOf(claim.Log, "journal DeviceFoundSick") < Array.IndexOf(claim.Log, "beta PlanTarget"), string.Join('\n', claim.Log));
    }

    [Fact]
    public async Task What_is_heard_again_is_written_down_once_and_moves_the_claim_once()
    {
        var claim = await lab.NewClaim().Run();
        for (var i = 0; i < 5; i++)
            claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.View();

        Assert.Equal((1, 1), (claim.Journal.Count(e => e == "DeviceFoundSick"), claim.Journal.Count(e => e == "MigrationStarted")));
    }

    [Fact]
    public async Task What_an_older_runner_on_the_same_function_had_is_not_believed()
    {
        var claim = await Evacuated();
        claim.Tell(claim.Sick("beta", readable: true, generation: 2));
        await claim.Until("journal SourceReleased", count: 2);

        claim.Tell(claim.Sick("alpha", readable: false, generation: 1));

        Assert.Equal((ClaimPhase.Running, "alpha", 2), ((await claim.View()).Phase, (await claim.View()).Host, claim.Journal.Count(e => e == "DeviceFoundSick")));
    }

    [Fact]
    public async Task Another_function_of_the_same_host_is_taken_where_no_other_host_can()
    {
        var claim = await lab.NewClaim().Run();
        claim.Instead = (host, command) => command is PlanTarget
            ? host == "beta" ? No(claim, host, command) : [new TargetPlanned(claim.Id, host, command.Generation, [Sibling], [])]
            : null;
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        var view = await claim.View();

        Assert.Equal(("alpha", Sibling, 2L, "evacuated"), (view.Host, view.Device, view.Generation, view.Trouble!.Outcome));
        Assert.Equal((1, $"alpha/{Sibling}"), (claim.MostRunning, Assert.Single(claim.Running)));
    }

    [Fact]
    public async Task A_claim_that_finds_no_target_says_so_and_tries_again()
    {
        var claim = await lab.NewClaim().Run();
        var full = true;
        claim.Instead = (host, command) => command is PlanTarget && full ? No(claim, host, command) : null;
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("alpha PlanTarget", count: 2);
        var waiting = await claim.View();

        full = false;
        await claim.Until("journal SourceReleased");

        Assert.Equal(ClaimPhase.Running, waiting.Phase);
        Assert.Equal(
            "alpha/fab0:01:00.1 is out of service: it smells; it cannot go yet, and tries again when something changes: beta is full. alpha is full.",
            waiting.Message);
        Assert.Equal(("beta", null), ((await claim.View()).Host, (await claim.View()).Message));
    }

    [Fact]
    public async Task A_claim_that_waits_for_a_target_asks_at_once_when_something_is_free()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = await lab.NewClaim(time).Run();
        var full = true;
        claim.Instead = (host, command) => command is PlanTarget && full
            ? [new TargetPlanned(claim.Id, host, command.Generation, [], [$"{host} is full, said {claim.Log.Count(entry => entry == $"{host} PlanTarget")} times."])]
            : null;
        var asked = claim.Log.Count(entry => entry == "alpha PlanTarget");
        claim.Tell(claim.Sick("alpha", readable: true));
        // Five times in vain: its own pause is 16 s by now.
        for (var seconds = 1; seconds <= 16; seconds *= 2)
        {
            asked++;
            while ((await claim.View()).Message?.Contains($"alpha is full, said {asked} times", StringComparison.Ordinal) != true)
                TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            if (seconds < 16)
                time.Advance(TimeSpan.FromSeconds(seconds));
        }

        full = false;
        lab.Frees();
        await claim.View();
        Assert.DoesNotContain("journal MigrationStarted", claim.Log);
        time.Advance(TimeSpan.FromSeconds(1));

        await claim.Until("journal MigrationStarted");
    }

    [Fact]
    public async Task An_evacuation_that_is_rolled_back_is_tried_again_with_a_longer_limit()
    {
        var claim = await lab.NewClaim().Run();
        var failed = false;
        claim.Instead = (host, command) =>
        {
            if (failed || command is not StartPreCopy)
                return null;
            failed = true;
            return [claim.Failure(host, command)];
        };
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        var view = await claim.View();

        Assert.Equal(["rolled-back", "committed"], view.Migrations.Select(migration => migration.Outcome));
        Assert.Equal([1000, 2000], view.Migrations.Select(migration => migration.DowntimeLimitMs));
        Assert.Equal(("evacuated", 2, 1), (view.Trouble!.Outcome, view.Trouble.Attempts, claim.MostRunning));
    }

    [Fact]
    public async Task A_claim_that_was_evacuated_is_evacuated_again_when_its_new_device_fails()
    {
        var claim = await Evacuated();
        claim.Tell(claim.Sick("beta", readable: true, generation: 2));
        await claim.Until("journal SourceReleased", count: 2);

        var view = await claim.View();

        Assert.Equal(("alpha", 3L, "beta", 1), (view.Host, view.Generation, view.Trouble!.Host, claim.MostRunning));
    }

    [Fact]
    public async Task An_evacuation_that_is_cancelled_is_not_tried_again_and_says_so()
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var claim = await lab.NewClaim(time).Run();
        claim.Instead = (_, command) => command is StartPreCopy ? [] : null;
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("alpha StartPreCopy");
        await claim.Ask<ClaimAccepted>(claim.CancelFirst);
        await claim.Until("journal MigrationRolledBack");
        time.Advance(TimeSpan.FromMinutes(5));
        claim.Tell(claim.Sick("alpha", readable: true, generation: 2));

        Assert.Equal(
            "alpha/fab0:01:00.1 is out of service: it smells; its evacuation was cancelled by ops and is not tried again; migrate it",
            (await claim.View()).Message?.Split("; alpha has not")[0]);
        Assert.Single(claim.Journal, e => e == "MigrationStarted");
    }

    [Fact]
    public async Task What_somebody_asks_for_goes_before_what_the_fabric_plans_by_itself()
    {
        var claim = await lab.NewClaim().Run();
        var asked = 0;
        claim.Instead = (host, command) => command is PlanTarget && asked++ == 0 ? [] : null;
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("beta PlanTarget");

        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");

        var view = await claim.View();
        Assert.Equal(("ops", null, "evacuated"), (view.Migrations[0].RequestedBy, view.Migrations[0].Cause, view.Trouble!.Outcome));
    }

    [Fact]
    public async Task A_migration_under_way_takes_the_claim_away_and_no_other_is_started()
    {
        var claim = lab.NewClaim();
        var held = true;
        claim.Instead = (_, command) => command is StartPreCopy && held ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StartPreCopy");
        claim.Tell(claim.Sick("alpha", readable: true, generation: 2));
        await claim.Until("journal DeviceFoundSick");
        held = false;
        await claim.Until("journal SourceReleased");

        var view = await claim.View();

        Assert.Equal(("committed", "evacuated", "beta"), (Assert.Single(view.Migrations).Outcome, view.Trouble!.Outcome, view.Host));
    }

    [Fact]
    public async Task A_target_that_is_taken_out_of_service_before_the_commit_is_given_up()
    {
        var claim = lab.NewClaim();
        claim.Instead = (_, command) => command is StartPreCopy ? [] : null;
        await claim.Migrate();
        await claim.Until("alpha StartPreCopy");
        claim.Tell(claim.Sick("beta", readable: true, generation: 2));
        await claim.Until("journal MigrationRolledBack");

        var view = await claim.View();

        Assert.Equal(
            (ClaimPhase.Running, "alpha", "the target beta/fab0:01:00.1 is out of service: it smells", null),
            (view.Phase, view.Host, view.Migrations[0].Reason, view.Trouble));
    }

    // ---- What cannot be read ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_claim_whose_state_is_lost_stops_and_says_why()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("journal ClaimFailed");

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Failed, "stopped"), (view.Phase, view.Trouble!.Outcome));
        Assert.Equal("alpha/fab0:01:00.1 is out of service: it smells; its state cannot be read any more", view.Message);
    }

    [Fact]
    public async Task A_claim_whose_state_is_lost_is_started_afresh_elsewhere_where_its_policy_says_so()
    {
        var claim = await Restarted();

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "beta", 3L, "restarted-afresh", "beta"), (view.Phase, view.Host, view.Generation, view.Trouble!.Outcome, view.Trouble.ToHost));
        Assert.Equal((1, "beta"), (claim.MostRunning, Assert.Single(claim.Running)));
        Assert.Equal(["ClaimCreated", "ClaimStarted", "DeviceFoundSick", "RestartStarted", "RunnerClosed", "PlacedAfresh", "ClaimStarted"], claim.Journal);
    }

    [Theory]
    [InlineData("journal RestartStarted", "alpha Detach")]
    [InlineData("journal RunnerClosed", "beta PlanTarget")]
    [InlineData("alpha Detach", "journal RunnerClosed")]
    [InlineData("journal PlacedAfresh", "beta Attach")]
    public async Task Nothing_is_opened_before_it_is_in_the_journal_and_what_was_is_closed_L1(string before, string after)
    {
        var claim = await Restarted();

        Assert.True(Array.IndexOf(claim.Log, before) < Array.IndexOf(claim.Log, after), string.Join('\n', claim.Log));
    }

    [Fact]
    public async Task A_host_that_does_not_confirm_that_it_closed_the_device_is_waited_for_L1()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Restart);
        var silent = true;
        claim.Instead = (host, command) => command is Detach && silent ? [claim.Failure(host, command)] : null;
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("alpha Detach", count: 3);
        var waiting = await claim.View();
        Assert.DoesNotContain("beta PlanTarget", claim.Log);

        silent = false;
        await claim.Until("journal PlacedAfresh");

        Assert.Equal(ClaimPhase.Restarting, waiting.Phase);
        Assert.Contains("the claim starts afresh elsewhere when alpha has closed fab0:01:00.1", waiting.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_function_that_cannot_be_started_afresh_is_closed_and_another_is_tried_under_a_newer_generation()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Restart);
        var failed = false;
        claim.Instead = (host, command) =>
        {
            if (failed || host != "beta" || command is not Attach)
                return null;
            failed = true;
            return [claim.Failure(host, command)];
        };
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("journal ClaimStarted", count: 2);

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, 5L, "restarted-afresh", "alpha"), (view.Phase, view.Generation, view.Trouble!.Outcome, view.Trouble.Host));
        Assert.Contains("beta Detach", claim.Log);
        Assert.Equal(1, claim.MostRunning);
    }

    [Fact]
    public async Task A_claim_whose_host_has_nothing_of_it_is_started_afresh_where_its_policy_says_so()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is ReportAttachment ? [claim.Failure(host, command, gone: true)] : null;
        await claim.Run(DeviceFailurePolicy.Restart);
        claim.Tell(claim.ToBeta);
        await claim.Until("journal ClaimStarted", count: 2);

        Assert.Equal((ClaimPhase.Running, 3L), ((await claim.View()).Phase, (await claim.View()).Generation));
    }

    [Theory]
    [InlineData(DeviceFailurePolicy.Restart, "journal PlacedAfresh", "restarted-afresh")]
    [InlineData(DeviceFailurePolicy.Evacuate, "journal ClaimFailed", "stopped")]
    public async Task A_source_that_is_lost_in_the_pre_copy_ends_as_the_policy_says(DeviceFailurePolicy policy, string ended, string outcome)
    {
        var claim = await lab.NewClaim().Run(policy);
        claim.Instead = (host, command) => command switch
        {
            StartPreCopy => [],
            ResumeSource => [claim.Failure(host, command)],
            _ => null,
        };
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("alpha StartPreCopy");
        claim.Tell(claim.Sick("alpha", readable: false, generation: 2));
        await claim.Until(ended);
        if (policy == DeviceFailurePolicy.Restart)
            await claim.Until("journal ClaimStarted", count: 2);

        var view = await claim.View();

        Assert.Equal(("failed", outcome), (view.Migrations[0].Outcome, view.Trouble!.Outcome));
        Assert.True(claim.MostRunning <= 1);
    }

    [Fact]
    public async Task A_source_that_is_lost_after_it_sent_everything_is_committed_all_the_same_L2()
    {
        var claim = await lab.NewClaim().Run();
        claim.Instead = (host, command) =>
        {
            if (host == "alpha" && command is StopAndCopy)
                claim.Tell(claim.Sick("alpha", readable: false, generation: 2));
            return null;
        };
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", "evacuated"), ((await claim.View()).Host, (await claim.View()).Trouble!.Outcome));
    }

    [Fact]
    public async Task What_was_confirmed_is_not_asked_for_again_by_a_claim_that_is_taken_up_anew_L3()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Restart);
        claim.Fail("RunnerClosed", JournalFault.KeepAndFail);
        // Its host dies once it has confirmed.
        claim.Instead = (_, command) => command is Detach && claim.Log.Contains("life 2") ? [] : null;
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("journal ClaimStarted", count: 2);

        Assert.Equal("beta", (await claim.View()).Host);
    }

    [Fact]
    public async Task A_target_that_fails_after_the_commit_is_left_when_the_evacuation_to_it_is_over_and_told_L4()
    {
        var claim = await lab.NewClaim().Run();
        var told = false;
        claim.Instead = (host, command) =>
        {
            if (command is not RunTarget || told)
                return null;
            told = true;
            claim.Tell(claim.Sick("beta", readable: true, generation: 2));
            return null;
        };
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        Assert.Equal(("alpha", "evacuated"), ((await claim.View()).Trouble!.Host, (await claim.View()).Trouble!.Outcome));
        claim.Tell(claim.Sick("beta", readable: true, generation: 2));
        await claim.Until("journal SourceReleased", count: 2);
        Assert.Equal(("beta", "alpha"), ((await claim.View()).Trouble!.Host, (await claim.View()).Host));
    }

    // ---- Staying ---------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(true, "the claim stays there, as its policy says; migrate it, or release it")]
    [InlineData(false, "its state cannot be read any more and the claim stays there, as its policy says; release it")]
    public async Task A_claim_that_stays_says_what_is_wrong_and_does_nothing(bool readable, string next)
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Stay);
        claim.Tell(claim.Sick("alpha", readable));
        await claim.Until("journal DeviceFoundSick");

        var view = await claim.View();

        Assert.Equal((ClaimPhase.Running, "alpha", $"alpha/fab0:01:00.1 is out of service: it smells; {next}"), (view.Phase, view.Host, view.Message));
        Assert.Equal("DeviceFoundSick", claim.Journal[^1]);
    }

    [Fact]
    public async Task A_claim_that_stays_on_a_lost_device_cannot_be_verified_and_says_so_at_once()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Stay);
        claim.Tell(claim.Sick("alpha", readable: false));

        var refused = await claim.Ask<ClaimRefused>(new VerifyClaim(claim.Id));

        Assert.Equal((RefusalCode.Conflict, $"Claim {claim.Id} could not be verified: it broke"), (refused.Code, refused.Sentence));
    }

    [Fact]
    public async Task A_claim_that_stays_moves_when_somebody_asks_for_it()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Stay);
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", null, "evacuated"), ((await claim.View()).Host, (await claim.View()).Message, (await claim.View()).Trouble!.Outcome));
    }

    [Fact]
    public async Task The_policy_is_part_of_what_makes_two_requests_the_same()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Stay);

        Assert.Equal(RefusalCode.Conflict, (await claim.Ask<ClaimRefused>(claim.CreateOnAlpha)).Code);
    }

    // ---- Deaths ----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("DeviceFoundSick")]
    [InlineData("MigrationStarted")]
    [InlineData("TargetReserved")]
    [InlineData("SwitchoverStarted")]
    [InlineData("MigrationCommitted")]
    [InlineData("TargetStarted")]
    [InlineData("SourceReleased")]
    public async Task Killed_at_any_step_of_an_evacuation_it_ends_on_the_target_L3(string journaled)
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("life 2");
        await claim.Until("journal SourceReleased");

        Assert.Equal(("beta", "evacuated", 1), ((await claim.View()).Host, (await claim.View()).Trouble!.Outcome, claim.MostRunning));
        Assert.Equal(["beta"], claim.Running);
    }

    [Theory]
    [InlineData("DeviceFoundSick")]
    [InlineData("RestartStarted")]
    [InlineData("RunnerClosed")]
    [InlineData("PlacedAfresh")]
    public async Task Killed_at_any_step_of_a_start_afresh_it_ends_on_one_host_L3(string journaled)
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Restart);
        claim.Fail(journaled, JournalFault.KeepAndFail);
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("life 2");
        await claim.Until("journal ClaimStarted", count: 2);

        Assert.Equal(("beta", 3L, 1), ((await claim.View()).Host, (await claim.View()).Generation, claim.MostRunning));
        Assert.Equal(["beta"], claim.Running);
    }

    [Fact]
    public async Task A_report_that_the_journal_did_not_take_is_acted_on_when_it_comes_again()
    {
        var claim = await lab.NewClaim().Run();
        claim.Fail("DeviceFoundSick", JournalFault.Fail);
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("life 2");

        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");

        Assert.Equal("beta", (await claim.View()).Host);
    }

    private async Task<ClaimUnderTest> Evacuated()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("journal SourceReleased");
        return claim;
    }

    private async Task<ClaimUnderTest> Restarted()
    {
        var claim = await lab.NewClaim().Run(DeviceFailurePolicy.Restart);
        claim.Tell(claim.Sick("alpha", readable: false));
        await claim.Until("journal ClaimStarted", count: 2);
        return claim;
    }

    private static IHostReport[] No(ClaimUnderTest claim, string host, IHostCommand command) =>
        [new TargetPlanned(claim.Id, host, command.Generation, [], [$"{host} is full."])];
}
