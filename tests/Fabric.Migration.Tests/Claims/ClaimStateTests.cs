using Fabric.Migration.Claims;
using Fabric.Migration.Journal;
using static Fabric.Migration.Tests.Claims.ClaimEvents;

namespace Fabric.Migration.Tests.Claims;

public sealed class ClaimStateTests
{
    [Fact]
    public void A_claim_that_was_never_created_has_nothing()
    {
        Assert.Equal((ClaimPhase.None, "", 0L, 1), (ClaimState.Empty.Phase, ClaimState.Empty.Host, ClaimState.Empty.Generation, ClaimState.Empty.NextMigration));
    }

    [Fact]
    public void A_created_claim_is_being_placed_where_it_was_planned()
    {
        var state = ClaimState.Empty.Apply(Created);

        Assert.Equal(
            ("c1", "accelerator", "alpha", "fab0:01:00.1", 1L, 1L << 20, 1000, ClaimPhase.Placing, 100L),
            (state.Id, state.Devices.Single().Model, state.Host, state.Device, state.Generation, state.MemoryBytes, state.StepsPerSecond, state.Phase, state.CreatedAt));
    }

    [Fact]
    public void A_claim_of_several_devices_has_them_in_the_order_that_they_were_asked_for()
    {
        Assert.Equal([new("accelerator", "fab0:01:00.1"), new("mlx5", "fab0:07:00.2")], RunningPair.Devices);
    }

    [Fact]
    public void A_commit_moves_every_device()
    {
        var state = RunningPair.After(NextMigrationOfPair(RunningPair), Reserved, Switchover, Committed);

        Assert.Equal([new("accelerator", "fab0:02:00.3"), new("mlx5", "fab0:08:00.1")], state.Devices);
    }

    [Fact]
    public void A_start_afresh_places_every_device()
    {
        var state = RunningPair.After(
            Sick(RunningPair, readable: false),
            Restart(RunningPair),
            Closed,
            new PlacedAfresh { Host = "beta", Device = "fab0:02:00.3", Devices = { "fab0:02:00.3", "fab0:08:00.1" }, Generation = 3, At = 320 });

        Assert.Equal([new("accelerator", "fab0:02:00.3"), new("mlx5", "fab0:08:00.1")], state.Devices);
    }

    [Fact]
    public void A_second_device_that_is_lost_is_part_of_the_same_trouble()
    {
        var first = Sick(RunningPair, readable: true);
        var state = RunningPair.After(first, new DeviceFoundSick { Host = "alpha", Device = "fab0:07:00.2", Reason = "it burns", At = 305 });

        Assert.Equal(("fab0:07:00.2", "it burns", false, first.At), (state.Trouble!.Device, state.Trouble.Reason, state.Trouble.Readable, state.Trouble.Since));
    }

    [Fact]
    public void A_trouble_of_any_device_ends_when_the_claim_has_moved()
    {
        var sick = new DeviceFoundSick { Host = "alpha", Device = "fab0:07:00.2", Reason = "it burns", Readable = true, At = 305 };
        var state = RunningPair.After(sick, NextMigrationOfPair(RunningPair), Reserved, Switchover, Committed, TargetRuns);

        Assert.Equal("evacuated", state.Trouble!.Outcome);
    }

    [Fact]
    public void A_snapshot_of_several_devices_is_the_claim_again()
    {
        var state = RunningPair.After(NextMigrationOfPair(RunningPair), Reserved);
        var again = ClaimState.FromSnapshot(state.ToSnapshot());

        Assert.Equal(state.Devices, again.Devices);
        Assert.Equal(state.Migration!.FromDevices, again.Migration!.FromDevices);
        Assert.Equal(state.Migration.ToDevices, again.Migration.ToDevices);
    }

    [Fact]
    public void A_started_claim_runs()
    {
        Assert.Equal(ClaimPhase.Running, RunningClaim.Phase);
    }

    [Fact]
    public void A_failed_claim_says_why()
    {
        var state = RunningClaim.Apply(new ClaimFailed { Reason = "its device broke", At = 120 });

        Assert.Equal((ClaimPhase.Failed, "its device broke"), (state.Phase, state.Message));
    }

    [Fact]
    public void A_failure_ends_the_migration_under_way()
    {
        var migration = MigratingClaim.Apply(new ClaimFailed { Reason = "its device broke", At = 220 }).Migrations[^1];

        Assert.Equal((MigrationStep.Done, "failed", "its device broke", 220L), (migration.Step, migration.Outcome, migration.Reason, migration.EndedAt));
    }

    [Fact]
    public void A_failure_after_the_commit_is_not_told_as_a_rollback()
    {
        var state = MigratingClaim.After(Reserved, Switchover, Committed, new ClaimFailed { Reason = "it could not run", At = 240 });

        Assert.Equal(("beta", "failed"), (state.Host, state.Migrations[^1].Outcome));
    }

    [Fact]
    public void A_release_begins_and_ends()
    {
        var releasing = RunningClaim.Apply(new ReleaseStarted { RequestedBy = "ops", At = 120 });

        Assert.Equal((ClaimPhase.Releasing, ClaimPhase.Released), (releasing.Phase, releasing.Apply(new ClaimReleased { At = 130 }).Phase));
    }

    [Fact]
    public void A_started_migration_reserves_and_leaves_the_claim_where_it_runs()
    {
        var migration = MigratingClaim.Migration!;

        Assert.Equal(
            (1, "alpha", "fab0:01:00.1", "beta", "fab0:02:00.3", 300, 60_000, 1L << 30, "ops", 200L, MigrationStep.Reserve),
            (migration.Number, migration.FromHost, migration.FromDevice, migration.ToHost, migration.ToDevice, migration.DowntimeLimitMs, migration.TimeoutMs,
                migration.BandwidthLimit, migration.RequestedBy, migration.StartedAt, migration.Step));
    }

    [Fact]
    public void A_reserved_target_is_remembered_with_its_door_and_key()
    {
        var migration = MigratingClaim.Apply(Reserved).Migration!;

        Assert.Equal((MigrationStep.PreCopy, "127.0.0.1:4711", Reserved.Token), (migration.Step, migration.Endpoint, migration.Token));
    }

    [Fact]
    public void A_switchover_is_remembered_with_what_was_sent_before_it()
    {
        var migration = MigratingClaim.After(Reserved, Switchover).Migration!;

        Assert.Equal((MigrationStep.StopCopy, 3, 4096L, false), (migration.Step, migration.Rounds, migration.Bytes, migration.Verified));
    }

    [Fact]
    public void A_commit_moves_the_claim_to_the_target()
    {
        var state = MigratingClaim.After(Reserved, Switchover, Committed);

        Assert.Equal(
            ("beta", "fab0:02:00.3", ClaimPhase.Migrating, MigrationStep.Run, true, "ab", 5000L),
            (state.Host, state.Device, state.Phase, state.Migration!.Step, state.Migration.Verified, state.Migration.Checksum, state.Migration.Bytes));
    }

    [Fact]
    public void A_target_that_runs_adds_its_phases_to_those_of_the_commit()
    {
        var migration = MigratingClaim.After(Reserved, Switchover, Committed, TargetRuns).Migration!;

        Assert.Equal((MigrationStep.Release, 12.5, "load start"), (migration.Step, migration.DowntimeMs, string.Join(' ', migration.Phases.Select(phase => phase.Name))));
    }

    [Fact]
    public void A_released_source_ends_a_committed_migration()
    {
        var state = MigratingClaim.After(Reserved, Switchover, Committed, TargetRuns, SourceFree);

        Assert.Equal(
            (ClaimPhase.Running, null, MigrationStep.Done, "committed", 250L),
            (state.Phase, state.Migration, state.Migrations[^1].Step, state.Migrations[^1].Outcome, state.Migrations[^1].EndedAt));
    }

    [Theory]
    [InlineData(false, "rolled-back")]
    [InlineData(true, "cancelled")]
    public void A_rollback_says_why_and_who_wanted_it(bool cancelled, string outcome)
    {
        var migration = MigratingClaim.Apply(new RollbackStarted { Reason = "why", Cancelled = cancelled, At = 205 }).Migration!;

        Assert.Equal((MigrationStep.Rollback, "why", outcome), (migration.Step, migration.Reason, migration.Outcome));
    }

    [Fact]
    public void A_claim_that_is_rolled_back_runs_where_it_did()
    {
        var state = MigratingClaim.After(Reserved, Switchover, GivenUp, RolledBack);

        Assert.Equal(
            (ClaimPhase.Running, "alpha", "fab0:01:00.1", MigrationStep.Done, "rolled-back", 7.5, 4500L, 270L),
            (state.Phase, state.Host, state.Device, state.Migrations[^1].Step, state.Migrations[^1].Outcome, state.Migrations[^1].DowntimeMs,
                state.Migrations[^1].Bytes, state.Migrations[^1].EndedAt));
    }

    [Fact]
    public void The_last_twenty_migrations_are_remembered_and_numbers_go_on()
    {
        var state = RunningClaim;
        for (var i = 0; i < 25; i++)
            state = state.After(NextMigration(state), GivenUp, RolledBack);

        Assert.Equal((20, 6, 25, 26), (state.Migrations.Count, state.Migrations[0].Number, state.Migrations[^1].Number, state.NextMigration));
    }

    [Fact]
    public void A_claim_of_before_there_was_a_choice_is_evacuated()
    {
        Assert.Equal((DeviceFailurePolicy.Evacuate, 1L, null), (RunningClaim.OnDeviceFailure, RunningClaim.RunnerGeneration, RunningClaim.Trouble));
    }

    [Fact]
    public void A_sick_device_is_remembered_and_leaves_the_claim_running()
    {
        var state = RunningClaim.Apply(Sick(RunningClaim, readable: true));

        Assert.Equal(
            (ClaimPhase.Running, new DeviceTrouble("alpha", "fab0:01:00.1", "it smells", Readable: true, Since: 300)),
            (state.Phase, state.Trouble));
    }

    [Fact]
    public void A_device_that_gets_worse_keeps_since_when_it_is_sick()
    {
        var state = RunningClaim.Apply(Sick(RunningClaim, readable: true));
        var worse = Sick(state, readable: false);
        worse.At = 999;

        Assert.Equal((false, 300L), (state.Apply(worse).Trouble!.Readable, state.Apply(worse).Trouble!.Since));
    }

    [Fact]
    public void A_migration_that_somebody_asked_for_evacuates_as_well()
    {
        var sick = RunningClaim.Apply(Sick(RunningClaim, readable: true));

        var trouble = sick.After(NextMigration(sick), Reserved, Switchover, Committed, TargetRuns).Trouble!;

        Assert.Equal(("evacuated", "beta", "fab0:02:00.3", 12.5, 240L, 0), (trouble.Outcome, trouble.ToHost, trouble.ToDevice, trouble.DowntimeMs, trouble.EndedAt, trouble.Attempts));
    }

    [Fact]
    public void A_start_afresh_has_a_generation_of_its_own_and_stays_where_it_was_until_it_is_placed_L1()
    {
        var restarting = RunningClaim.After(Sick(RunningClaim, readable: false), Restart(RunningClaim));
        var placed = restarting.Apply(Placed(restarting));

        Assert.Equal((ClaimPhase.Restarting, "alpha", 2L, 1L), (restarting.Phase, restarting.Host, restarting.Generation, restarting.RunnerGeneration));
        Assert.Equal((ClaimPhase.Placing, "beta", 3L, 3L), (placed.Phase, placed.Host, placed.Generation, placed.RunnerGeneration));
        Assert.Equal("restarted-afresh", placed.Apply(Running).Trouble!.Outcome);
    }

    [Fact]
    public void A_cancelled_evacuation_is_held()
    {
        var sick = RunningClaim.Apply(Sick(RunningClaim, readable: true));
        var evacuation = NextMigration(sick);
        evacuation.Cause = "it smells";

        var trouble = sick.After(evacuation, new RollbackStarted { Reason = "cancelled by ops", Cancelled = true, At = 265 }).Trouble!;

        Assert.Equal(("cancelled by ops", 1, null), (trouble.Held, trouble.Attempts, trouble.Outcome));
    }

    [Fact]
    public void A_snapshot_is_no_event_of_a_claim()
    {
        var refused = Assert.Throws<InvalidOperationException>(() => RunningClaim.Apply(new ClaimSnapshot()));

        Assert.Equal("A claim has no event ClaimSnapshot.", refused.Message);
    }

    [Fact]
    public void Every_event_that_is_journaled_can_be_applied()
    {
        var events = typeof(IJournaled).Assembly.GetTypes()
            .Where(type => type.IsAssignableTo(typeof(IJournaled)) && !type.IsAssignableTo(typeof(IMovesJournaled)) && !type.IsAbstract && type != typeof(ClaimSnapshot))
            .Select(type => (IJournaled)Activator.CreateInstance(type)!);

        Assert.All(events, e => Assert.NotNull(MigratingClaim.Apply(e)));
    }
}
