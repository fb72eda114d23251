using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Claims;

/// <summary>Plans of migrations, and requests that come again.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimPlanTests(ClaimLab lab)
{
    [Fact]
    public async Task A_plan_says_where_the_claim_would_go_and_changes_nothing()
    {
        var claim = await lab.NewClaim().Run();

        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true });

        Assert.Equal(("beta", true), (Assert.Single(plan.Targets).Host, plan.Id is not null));
        Assert.DoesNotContain("MigrationStarted", claim.Journal);
    }

    [Fact]
    public async Task A_plan_without_a_target_looks_at_every_other_host()
    {
        var claim = await lab.NewClaim().Run();

        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true, TargetHost = "" });

        Assert.Equal(["beta"], plan.Targets.Select(target => target.Host));
    }

    [Fact]
    public async Task A_plan_that_is_refused_has_every_reason()
    {
        var claim = lab.NewClaim();
        claim.Instead = (host, command) => command is PlanTarget && host == "beta" ? Answer(claim, host, command, []) : null;
        await claim.Run();

        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true });

        Assert.Equal((null, "beta is full."), (plan.Id, Assert.Single(Assert.Single(plan.Targets).Reasons)));
    }

    [Fact]
    public async Task Before_its_first_migration_the_fabrics_last_tells_a_claim_the_rate_and_nothing_the_stop()
    {
        var other = lab.NewClaim();
        await other.Migrate();
        await other.Until("journal SourceReleased");
        var claim = await lab.NewClaim().Run();

        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true });

        // A megabyte of memory and 4 KiB of state.
        Assert.Equal(
            (1_000_000L, $"{other.Id}.1", 20 + (((1 << 20) + 4096) / 1000.0), null), (plan.BytesPerSecond, plan.MeasuredBy, plan.TotalMs, plan.DowntimeMs));
    }

    [Fact]
    public async Task After_a_migration_what_it_measured_predicts_the_next()
    {
        var claim = lab.NewClaim();
        await claim.Migrate();
        await claim.Until("journal SourceReleased");

        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true, TargetHost = "alpha" });

        // 1000 bytes were left and went at 1,000,000 a second, beside the 20 ms of a stop.
        Assert.Equal((1_000_000L, 1000L, $"{claim.Id}.1", 21.0), (plan.BytesPerSecond, plan.LeftBytes, plan.MeasuredBy, plan.DowntimeMs));
    }

    [Fact]
    public async Task A_migration_by_a_plan_that_holds_is_begun()
    {
        var claim = await lab.NewClaim().Run();
        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true });

        await claim.Ask<ClaimAccepted>(claim.ToBeta with { Plan = plan.Id, TargetHost = "" });

        await claim.Until("journal SourceReleased");
    }

    [Fact]
    public async Task A_migration_by_a_plan_that_holds_no_more_is_refused_with_what_changed()
    {
        var claim = await lab.NewClaim().Run();
        var plan = await claim.Ask<MigrationPlanned>(claim.ToBeta with { PlanOnly = true });
        claim.Instead = (host, command) => command is PlanTarget ? Answer(claim, host, command, ["fab0:09:00.1"]) : null;

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta with { Plan = plan.Id });

        Assert.Equal(
            (RefusalCode.Plan, $"The plan {plan.Id} does not hold any more: its target was beta/{ClaimUnderTest.Device}, and is beta/fab0:09:00.1. Plan again."),
            (refused.Code, refused.Sentence));
        Assert.DoesNotContain("MigrationStarted", claim.Journal);
    }

    [Fact]
    public async Task A_plan_of_somebody_else_is_not_known()
    {
        var claim = await lab.NewClaim().Run();

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta with { Plan = "0123456789abcdef" });

        Assert.StartsWith($"Claim {claim.Id} does not know the plan 0123456789abcdef", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_source_that_does_not_migrate_is_said_before_any_target_is_asked()
    {
        var claim = await lab.NewClaim().Run();
        claim.Flags = null;

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta);

        Assert.Contains("is bound to driver accelerator-vf, which does not migrate", refused.Sentence, StringComparison.Ordinal);
        Assert.DoesNotContain("beta PlanTarget", claim.Log);
    }

    [Fact]
    public async Task A_request_that_comes_again_is_carried_out_once()
    {
        var claim = await lab.NewClaim().Run();
        var move = claim.ToBeta with { Request = "move-1", From = "alpha" };
        await claim.Ask<ClaimAccepted>(move);
        await claim.Until("journal SourceReleased");

        await claim.Ask<ClaimAccepted>(move);

        Assert.Single(claim.Journal, "MigrationStarted");
    }

    [Fact]
    public async Task A_request_that_comes_again_in_another_life_is_carried_out_once()
    {
        var claim = await lab.NewClaim().Run();
        var move = claim.ToBeta with { Request = "move-1", From = "alpha" };
        await claim.Ask<ClaimAccepted>(move);
        await claim.Until("journal SourceReleased");
        claim.Tell(ClaimUnderTest.Kill);
        await claim.Until("life 2");

        await claim.Ask<ClaimAccepted>(move);

        Assert.Single(claim.Journal, "MigrationStarted");
    }

    [Fact]
    public async Task A_request_for_a_claim_that_has_moved_meanwhile_is_refused()
    {
        var claim = await lab.NewClaim().Run();

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta with { Request = "move-1", From = "gamma" });

        Assert.Equal(("move-1", $"Claim {claim.Id} runs on alpha and not on gamma any more."), (refused.Request, refused.Sentence));
    }

    [Fact]
    public async Task A_claim_does_not_come_to_a_host_that_is_drained()
    {
        var claim = await lab.NewClaim().Run();
        lab.Moves("beta");
        try
        {
            var refused = await claim.Ask<ClaimRefused>(claim.ToBeta);

            Assert.Equal((RefusalCode.Plan, "Host beta is drained, as ops asked; undrain it, or choose another."), (refused.Code, refused.Sentence));
        }
        finally
        {
            lab.Moves();
        }
    }

    [Fact]
    public async Task A_creation_that_is_only_planned_creates_nothing()
    {
        var claim = lab.NewClaim();

        var planned = await claim.Ask<ClaimPlanned>(claim.CreateOnAlpha with { PlanOnly = true });

        Assert.Equal($"claim {claim.Id} would run on alpha/{ClaimUnderTest.Device}", planned.Would);
        Assert.Empty(claim.Journal);
    }

    private static IHostReport[] Answer(ClaimUnderTest claim, string host, IHostCommand command, string[] devices) =>
        [new TargetPlanned(claim.Id, host, command.Generation, devices, devices.Length > 0 ? [] : [$"{host} is full."])];
}
