using Fabric.Migration.Claims;
using Fabric.Migration.Journal;
using Google.Protobuf;
using static Fabric.Migration.Tests.Claims.ClaimEvents;

namespace Fabric.Migration.Tests.Claims;

/// <summary>What holds along every history of a claim; histories are drawn from printed seeds.</summary>
public sealed class ClaimHistoryTests
{
    private const int Length = 300;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(0, 16).Select(i => (i * 7919) + 1)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_state_is_the_same_after_a_snapshot(int seed) => Assert.All(History(seed), step =>
    {
        var restored = ClaimState.FromSnapshot(ClaimSnapshot.Parser.ParseFrom(step.After.ToSnapshot().ToByteArray()));

        Assert.Equal(Shown(step.After), Shown(restored));
    });

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_restored_state_goes_on_as_the_one_it_was_taken_of(int seed) => Assert.All(History(seed), step =>
        Assert.Equal(Shown(step.After), Shown(ClaimState.FromSnapshot(step.Before.ToSnapshot()).Apply(step.Event))));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Only_a_commit_and_a_start_afresh_change_where_a_claim_runs_L1(int seed) => Assert.All(
        History(seed).Where(step => step.Event is not (ClaimCreated or MigrationCommitted or PlacedAfresh)),
        step => Assert.Equal((step.Before.Host, step.Before.Device), (step.After.Host, step.After.Device)));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_commit_changes_where_a_claim_runs_L1(int seed) => Assert.All(
        History(seed).Where(step => step.Event is MigrationCommitted),
        step => Assert.Equal(
            (step.Before.Migration!.FromHost, step.Before.Migration.ToHost, step.Before.Migration.ToDevice),
            (step.Before.Host, step.After.Host, step.After.Device)));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void The_generation_grows_with_each_migration_and_each_start_afresh_and_only_then_L1(int seed) => Assert.All(
        History(seed).Where(step => step.Event is not ClaimCreated),
        step => Assert.Equal(step.Before.Generation + (step.Event is MigrationStarted or RestartStarted or PlacedAfresh ? 1 : 0), step.After.Generation));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void What_runs_was_opened_at_a_generation_that_the_claim_has_reached_L1(int seed) => Assert.All(
        History(seed), step => Assert.InRange(step.After.RunnerGeneration, 1, step.After.Generation));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Where_a_claim_is_over_or_moved_away_its_trouble_is_over(int seed) => Assert.All(
        History(seed).Where(step => step.After.Trouble is { IsOpen: true }),
        step => Assert.False(step.After.Phase is ClaimPhase.Failed or ClaimPhase.Releasing or ClaimPhase.Released));

    [Fact]
    public void The_histories_that_are_drawn_have_evacuations_and_starts_afresh() => Assert.Superset(
        new HashSet<string?> { "evacuated", "restarted-afresh", "stopped", "released" },
        Seeds.SelectMany(seed => History(seed.Data)).Select(step => step.After.Trouble?.Outcome).ToHashSet());

    private static IEnumerable<(ClaimState Before, IJournaled Event, ClaimState After)> History(int seed)
    {
        var random = new Random(seed);
        var state = ClaimState.Empty;
        for (var i = 0; i < Length; i++)
        {
            var choices = Next(state);
            if (choices.Length == 0)
                yield break;
            var happened = choices[random.Next(choices.Length)];
            var before = state;
            state = state.Apply(happened);
            yield return (before, happened, state);
        }
    }

    /// <summary>What can happen next, as the claim's actor writes it. Ends are rare: one choice among many.</summary>
    private static IJournaled[] Next(ClaimState state) => (state.Phase, state.Migration?.Step) switch
    {
        (ClaimPhase.None, _) => [Created],
        (ClaimPhase.Placing, _) when state.Trouble is { IsOpen: true } => [Running, Running, Restart(state)],
        (ClaimPhase.Placing, _) => [Running],
        (ClaimPhase.Running, _) when state.Trouble is { IsOpen: true } =>
        [
            .. Enumerable.Repeat(Evacuation(state), 8), .. Enumerable.Repeat(Restart(state), 8), Sick(state, readable: false),
            Failure, new ReleaseStarted { RequestedBy = "ops", At = 280 },
        ],
        (ClaimPhase.Running, _) =>
        [
            .. Enumerable.Repeat(NextMigration(state), 40), .. Enumerable.Repeat(Sick(state, readable: true), 20), .. Enumerable.Repeat(Sick(state, readable: false), 5),
            new ReleaseStarted { RequestedBy = "ops", At = 280 },
        ],
        (ClaimPhase.Restarting, _) => [state.RunnerIsClosed ? Placed(state) : Closed],
        (ClaimPhase.Releasing, _) => [new ClaimReleased { At = 290 }],
        (_, MigrationStep.Reserve) => [Reserved, Reserved, Reserved, GivenUp, Cancelled, Sick(state, readable: true)],
        (_, MigrationStep.PreCopy) => [Switchover, Switchover, Switchover, GivenUp, Cancelled, Sick(state, readable: false)],
        (_, MigrationStep.StopCopy) => [Committed, Committed, Committed, GivenUp, Cancelled],
        (_, MigrationStep.Run) => [.. Enumerable.Repeat(TargetRuns, 40), Failure],
        (_, MigrationStep.Release) => [SourceFree],
        (_, MigrationStep.Rollback) => [.. Enumerable.Repeat(RolledBack, 40), Restart(state), Failure],
        _ => [],
    };

    private static MigrationStarted Evacuation(ClaimState state)
    {
        var started = NextMigration(state);
        (started.RequestedBy, started.Cause) = ("fabric", "it smells");
        return started;
    }

    private static RollbackStarted Cancelled { get; } = new() { Reason = "cancelled by ops", Cancelled = true, At = 265 };

    private static ClaimFailed Failure { get; } = new() { Reason = "it could not run", At = 275 };

    /// <summary>Every property of a state: records compare their collections by identity.</summary>
    private static string Shown(ClaimState state) => string.Join('\n', [
        state.ToString(),
        .. state.Migrations.Select(m => $"{m} {m.Token.ToBase64()} {string.Join(' ', m.Phases)}")]);
}
