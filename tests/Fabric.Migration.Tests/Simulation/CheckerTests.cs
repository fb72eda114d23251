using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Tests.Simulation.Checking;

namespace Fabric.Migration.Tests.Simulation;

/// <summary>The checker can fail: each kind of violation, one to a record that is whole without it.</summary>
public sealed class CheckerTests
{
    private const long Second = 1_000_000;

    private static readonly CheckedBounds Bounds = new(TimeSpan.FromMilliseconds(1), TimeSpan.FromSeconds(60), static (_, reason) => reason == "its host died");

    /// <summary>A claim that is placed on a, moved to b, and runs there.</summary>
    private static readonly RunRecord[] Whole =
    [
        Of(0, RunEvent.Afresh, "a", 1, 0),
        Of(1, RunEvent.Acknowledged, "", 1, 0),
        new(2 * Second, RunEvent.Fault),
        Of(5, RunEvent.Stopped, "a", 1, 5000),
        Of(6, RunEvent.Saved, "a", 1, 5000, "5000"),
        Of(7, RunEvent.Loaded, "b", 2, 5000, "5000"),
        Of(8, RunEvent.Decided, "b", 2, 0),
        Of(9, RunEvent.Started, "b", 2, 5000),
        Of(10, RunEvent.Lost, "a", 1, 5000) with { Reason = "closed" },
        Of(20, RunEvent.Rest, "b", 2, 0),
    ];

    [Fact]
    public void A_record_that_is_whole_breaks_nothing() => Assert.Empty(Checker.Check(Whole, Bounds));

    [Fact]
    public void A_record_reads_as_it_was_written() => Assert.Equal(Whole, Whole.Select(static record => RunRecord.Parse(record.ToLine())));

    [Fact]
    public void Two_that_run_at_once_break_L1() =>
        Breaks("L1", "runs on b/f while it runs on a/f, for 1000000 µs", At(3, record => record with { At = 11 * Second }));

    [Fact]
    public void Two_that_overlap_for_less_than_clocks_may_differ_are_not_known_to_break_L1() =>
        Assert.DoesNotContain(Checker.Check(At(3, record => record with { At = (9 * Second) + 900 }), Bounds), static found => found.Law == "L1");

    [Fact]
    public void One_that_is_started_while_it_runs_breaks_L1() => Breaks("L1", "it was started while it ran", [.. Whole, Of(15, RunEvent.Started, "b", 2, 9000)]);

    [Fact]
    public void One_that_is_disturbed_at_rest_and_does_not_come_to_rest_again_breaks_L3() => Breaks(
        "L3",
        "was disturbed after it had come to rest, and does not come to rest again",
        [.. Whole, Of(21, RunEvent.Stopped, "b", 2, 9000), Of(22, RunEvent.Started, "b", 2, 9000)]);

    [Fact]
    public void A_step_that_was_lost_breaks_L2() => Breaks("L2", "goes on with step 5001, and stopped before 5000", At(7, record => record with { Step = 5001 }));

    [Fact]
    public void A_step_that_is_made_again_breaks_L2() => Breaks("L2", "goes on with step 4999, and stopped before 5000", At(7, record => record with { Step = 4999 }));

    [Fact]
    public void Steps_that_count_backwards_break_L2() => Breaks("L2", "counted from 5000 back to 4000", [.. Whole, Of(19, RunEvent.Stopped, "b", 2, 4000)]);

    [Fact]
    public void A_state_that_is_not_the_one_that_was_saved_breaks_L2() =>
        Breaks("L2", "goes on at b/f, which does not have its state", At(5, record => record with { Hash = "4711" }));

    [Fact]
    public void One_that_goes_on_without_having_loaded_breaks_L2() =>
        Breaks("L2", "goes on at b/f, which does not have its state", [.. Whole.Where(static record => record.What != RunEvent.Loaded)]);

    [Fact]
    public void One_that_goes_on_at_the_source_after_the_commit_breaks_L2() =>
        Breaks("L2", "goes on at a/f, which does not have its state", At(7, record => record with { Host = "a" }));

    [Fact]
    public void One_that_begins_anew_under_a_generation_that_had_worked_breaks_L2() =>
        Breaks("L2", "begins anew under generation 1, under which it had worked already", [.. Whole[..4], Of(6, RunEvent.Afresh, "a", 1, 0), .. Whole[^1..]]);

    [Fact]
    public void A_whole_copy_that_is_thrown_away_breaks_L2() => Breaks(
        "L2",
        "its last copy was closed, and nothing had happened to it",
        [.. Whole[..4], Of(6, RunEvent.Lost, "a", 1, 5000) with { Reason = "closed" }, Of(7, RunEvent.Rest, "", 1, 0) with { Rest = RestKind.Stopped, Reason = "its host died" }]);

    [Fact]
    public void A_claim_that_does_not_come_to_rest_breaks_L3() => Breaks("L3", "does not come to rest", Whole[..^1]);

    [Fact]
    public void A_claim_that_comes_to_rest_too_late_breaks_L3() =>
        Breaks("L3", "came to rest 61.0 s after the last fault, and has 60.0 s", At(9, record => record with { At = 63 * Second }));

    [Fact]
    public void A_claim_that_says_that_it_runs_where_it_does_not_breaks_L3() =>
        Breaks("L3", "says that it runs on a/f, and runs on b/f", At(9, record => record with { Host = "a" }));

    [Fact]
    public void A_claim_that_says_that_it_is_released_and_runs_breaks_L3() =>
        Breaks("L3", "says that it runs nowhere, and runs on b/f", At(9, record => record with { Rest = RestKind.Released }));

    [Fact]
    public void A_claim_that_stops_for_no_reason_of_its_policy_breaks_L3() => Breaks(
        "L3",
        "has stopped, and its policy does not say so: it was tired",
        [.. Whole[..4], Of(6, RunEvent.Lost, "a", 1, 5000) with { Reason = "died" }, Of(7, RunEvent.Rest, "", 1, 0) with { Rest = RestKind.Stopped, Reason = "it was tired" }]);

    [Fact]
    public void Claims_are_judged_each_by_itself() =>
        Assert.Empty(Checker.Check([.. Whole, .. Whole.Where(static record => record.Claim.Length > 0).Select(static record => record with { Claim = "c2", Function = "g" })], Bounds));

    private static void Breaks(string law, string what, RunRecord[] records) => Assert.Contains((law, what), Checker.Check(records, Bounds).Select(static found => (found.Law, found.What)));

    private static RunRecord[] At(int index, Func<RunRecord, RunRecord> change) => [.. Whole.Select((record, number) => number == index ? change(record) : record)];

    private static RunRecord Of(long second, RunEvent what, string host, long generation, long step, string? hash = null) =>
        new(second * Second, what, "c1", host, host.Length == 0 ? "" : "f", generation, step, hash);
}
