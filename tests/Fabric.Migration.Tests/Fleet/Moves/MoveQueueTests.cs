using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>Who moves next, where to, and what is said to those who wait.</summary>
public sealed class MoveQueueTests
{
    private const long Now = 1_000_000;
    private static readonly MovesState Drained = MovesState.Empty.Apply(new DrainStarted { Host = "alpha", RequestedBy = "ops", DowntimeLimitMs = 250, At = 1 });
    private static readonly FleetSnapshot Pair = Fleets.Of(
        Fleets.Host("alpha", 4, "c1", "c2", "c3"), Fleets.Host("beta"), Fleets.Claim("c1", "alpha"), Fleets.Claim("c2", "alpha"), Fleets.Claim("c3", "alpha"));

    [Fact]
    public void As_many_leave_a_host_at_once_as_may() => Assert.Equal(["c1", "c2"], Decide(Pair, Drained).Orders.Select(static order => order.ClaimId));

    [Fact]
    public void An_order_says_who_asked_and_what_stop_is_allowed() => Assert.Equal(
        new MoveOrder("c1", "alpha", "beta", "alpha is drained, as ops asked", 250, OfRebalance: false), Decide(Pair, Drained).Orders[0]);

    [Fact]
    public void One_too_many_for_its_host_waits_and_says_so() => Assert.Equal(
        new MoveWait("c3", "alpha", "2 migrations leave alpha; 2 at a time may", Blocked: false, OfRebalance: false), Assert.Single(Decide(Pair, Drained).Waits));

    [Fact]
    public void One_too_many_for_the_fabric_waits_and_says_so() => Assert.Equal(
        "1 migrations are under way; the fabric moves 1 at a time",
        Decide(Pair, Drained, new MoveLimits(PerFabric: 1)).Waits[0].Reason);

    [Fact]
    public void What_people_migrate_counts() => Assert.Equal(
        "1 migrations are under way; the fabric moves 1 at a time",
        Decide(Pair with { Claims = Pair.Claims.Add(Fleets.Claim("c9", "beta", ClaimPhase.Migrating) with { MovesTo = "alpha" }) }, Drained, new MoveLimits(PerFabric: 1)).Waits[0].Reason);

    [Fact]
    public void A_claim_without_a_place_to_go_is_blocked_with_the_reason_of_each_host() => Assert.Equal(
        new MoveWait("c1", "alpha", "there is no host to go to: beta has no free accelerator-vf; release one, or add a host.", Blocked: true, OfRebalance: false),
        Assert.Single(Decide(Fleets.Of(Fleets.Host("alpha", 1, "c1"), Fleets.Host("beta", 1, "c2"), Fleets.Claim("c1", "alpha"), Fleets.Claim("c2", "beta")), Drained).Waits));

    [Fact]
    public void What_is_on_its_way_takes_room_that_still_shows_as_free() => Assert.Equal(
        ["c1"],
        Decide(Pair with { Hosts = [Pair.Hosts[0], Fleets.Host("beta", 1)] }, Drained).Orders.Select(static order => order.ClaimId));

    [Fact]
    public void Two_of_a_group_do_not_go_to_the_same_host_at_once() => Assert.Equal(
        ["c1"],
        Decide(Pair with { Claims = [.. Pair.Claims.Select(static claim => claim with { ApartFrom = "db" })] }, Drained).Orders.Select(static order => order.ClaimId));

    [Fact]
    public void Nothing_moves_while_the_breaker_has_tripped()
    {
        var decision = Decide(Pair, Drained.Apply(new BreakerTripped { Reason = "too much broke", At = 2 }));

        Assert.Empty(decision.Orders);
        Assert.Equal("the breaker has stopped automatic moves: too much broke", decision.Waits[0].Reason);
    }

    [Fact]
    public void A_claim_that_failed_pauses_and_says_why()
    {
        var state = Ended(Drained, 1, "c1", "rolled-back", "it broke", at: Now - 1);

        Assert.Contains(new MoveWait("c1", "alpha", "it is tried again in a moment; last: it broke", Blocked: false, OfRebalance: false), Decide(Pair, state).Waits);
    }

    [Fact]
    public void A_claim_that_failed_too_often_is_left_to_a_person()
    {
        var state = Enumerable.Range(1, 3).Aggregate(Drained, static (sum, number) => Ended(sum, number, "c1", "rolled-back", "it broke", at: 5));

        Assert.Contains(
            new MoveWait("c1", "alpha", "3 migrations of it failed, last: it broke; migrate it, or release it", Blocked: true, OfRebalance: false), Decide(Pair, state).Waits);
    }

    [Fact]
    public void One_that_a_person_called_off_is_not_tried_again() => Assert.Contains(
        Decide(Pair, Ended(Drained, 1, "c1", "cancelled", "cancelled by ops", at: 5)).Waits,
        static wait => wait is { ClaimId: "c1", Blocked: true, Reason: "its migration was cancelled by ops, and is not tried again; migrate it" });

    [Fact]
    public void A_drain_that_is_asked_for_again_tries_again()
    {
        var state = Enumerable.Range(1, 3).Aggregate(Drained, static (sum, number) => Ended(sum, number, "c1", "rolled-back", "it broke", at: 5));

        Assert.Contains(Decide(Pair, state.Apply(new DrainStarted { Host = "alpha", RequestedBy = "ops", At = 9 })).Orders, static order => order.ClaimId == "c1");
    }

    [Fact]
    public void What_does_not_run_waits() => Assert.Equal(
        "it is placing; only a running claim migrates",
        Assert.Single(Decide(Fleets.Of(Fleets.Host("alpha", 1, "c1"), Fleets.Host("beta"), Fleets.Claim("c1", "alpha", ClaimPhase.Placing)), Drained).Waits).Reason);

    [Fact]
    public void What_has_failed_or_is_released_is_no_concern_of_a_drain() => Assert.Empty(
        Decide(Fleets.Of(Fleets.Host("alpha"), Fleets.Host("beta"), Fleets.Claim("c1", "alpha", ClaimPhase.Failed), Fleets.Claim("c2", "alpha", ClaimPhase.Released)), Drained).Waits);

    [Fact]
    public void A_rebalance_evens_claims()
    {
        var plan = Rebalancing.Plan(Fleets.Of(
            Fleets.Host("alpha", 4, "c1", "c2", "c3", "c4"), Fleets.Host("beta"),
            Fleets.Claim("c1", "alpha"), Fleets.Claim("c2", "alpha"), Fleets.Claim("c3", "alpha"), Fleets.Claim("c4", "alpha")));

        Assert.Equal(
            [
                new Intent("c1", "alpha", "beta", "alpha has 4 claims of accelerator-vf, beta 0"),
                new Intent("c2", "alpha", "beta", "alpha has 3 claims of accelerator-vf, beta 1"),
            ],
            plan);
    }

    [Fact]
    public void A_rebalance_parts_those_that_keep_apart() => Assert.Equal(
        "beta",
        Assert.Single(Rebalancing.Plan(Fleets.Of(
            Fleets.Host("alpha", 4, "c1", "c2"), Fleets.Host("beta", 4, "c3", "c4"),
            Fleets.Claim("c1", "alpha") with { ApartFrom = "db" }, Fleets.Claim("c2", "alpha") with { ApartFrom = "db" },
            Fleets.Claim("c3", "beta"), Fleets.Claim("c4", "beta"))).Take(1)).To);

    private static MoveDecision Decide(FleetSnapshot fleet, MovesState state, MoveLimits? limits = null) =>
        MoveQueue.Decide(fleet.Under(state), state, EvacuationTurns.None, limits ?? new MoveLimits(), Now);

    private static MovesState Ended(MovesState state, long number, string claim, string outcome, string reason, long at) => state
        .Apply(new MoveStarted { Number = number, ClaimId = claim, FromHost = "alpha", ToHost = "beta", At = at })
        .Apply(new MoveEnded { Number = number, Outcome = outcome, Reason = reason, At = at });
}
