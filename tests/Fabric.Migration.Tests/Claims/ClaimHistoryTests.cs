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
    public void Only_a_commit_changes_where_a_claim_runs_L1(int seed) => Assert.All(
        History(seed).Where(step => step.Event is not (ClaimCreated or MigrationCommitted)),
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
    public void The_generation_grows_with_each_migration_and_only_then_L1(int seed) => Assert.All(
        History(seed).Where(step => step.Event is not ClaimCreated),
        step => Assert.Equal(step.Before.Generation + (step.Event is MigrationStarted ? 1 : 0), step.After.Generation));

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
        (ClaimPhase.Placing, _) => [Running],
        (ClaimPhase.Running, _) => [.. Enumerable.Repeat(NextMigration(state), 40), new ReleaseStarted { RequestedBy = "ops", At = 280 }],
        (ClaimPhase.Releasing, _) => [new ClaimReleased { At = 290 }],
        (_, MigrationStep.Reserve) => [Reserved, Reserved, Reserved, GivenUp, Cancelled],
        (_, MigrationStep.PreCopy) => [Switchover, Switchover, Switchover, GivenUp, Cancelled],
        (_, MigrationStep.StopCopy) => [Committed, Committed, Committed, GivenUp, Cancelled],
        (_, MigrationStep.Run) => [.. Enumerable.Repeat(TargetRuns, 40), Failure],
        (_, MigrationStep.Release) => [SourceFree],
        (_, MigrationStep.Rollback) => [.. Enumerable.Repeat(RolledBack, 40), Failure],
        _ => [],
    };

    private static RollbackStarted Cancelled { get; } = new() { Reason = "cancelled by ops", Cancelled = true, At = 265 };

    private static ClaimFailed Failure { get; } = new() { Reason = "it could not run", At = 275 };

    /// <summary>Every property of a state: records compare their collections by identity.</summary>
    private static string Shown(ClaimState state) => string.Join('\n', [
        state.ToString(),
        .. state.Migrations.Select(m => $"{m} {m.Token.ToBase64()} {string.Join(' ', m.Phases)}")]);
}
