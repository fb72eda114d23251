using CsCheck;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>Drains of whole fabrics, by seed: keepers die, migrations fail, messages come twice or not at all.</summary>
public sealed class MovePropertyTests
{
    private const int LongEnough = 3000;

    [Fact]
    public void A_drain_ends_with_each_claim_moved_or_the_reason_why_not() => Gen.Int.Sample(seed =>
    {
        var (fabric, host) = Drain(seed, failing: 0.3);

        Assert.All(fabric.Claims.Where(claim => claim.Host == host), claim =>
            Assert.Contains(fabric.Waits, wait => wait.ClaimId == claim.Id && wait is { Blocked: true, Reason.Length: > 0 }));
    });

    [Fact]
    public void A_host_without_claims_is_said_to_be_drained() => Gen.Int.Sample(seed =>
    {
        var (fabric, host) = Drain(seed, failing: 0.3);

        Assert.Equal(fabric.Claims.All(claim => claim.Host != host), fabric.State.Drains[host].EmptiedAt != 0);
    });

    [Fact]
    public void No_claim_moves_twice_for_one_drain() => Gen.Int.Sample(seed =>
    {
        var (fabric, _) = Drain(seed, failing: 0.3);

        Assert.All(fabric.Claims, claim => Assert.InRange(claim.Committed, 0, 1));
    });

    [Fact]
    public void A_claim_that_fails_again_and_again_is_tried_as_often_as_is_allowed() => Gen.Int.Sample(seed =>
    {
        var (fabric, _) = Drain(seed, failing: 1);

        Assert.All(fabric.Claims, claim => Assert.InRange(claim.Failed, 0, fabric.Limits.Attempts));
    });

    [Fact]
    public void Where_nothing_fails_what_stays_has_no_host_to_go_to() => Gen.Int.Sample(seed =>
    {
        var (fabric, host) = Drain(seed, failing: 0);

        Assert.All(fabric.Claims.Where(claim => claim.Host == host), claim => Assert.DoesNotContain(
            fabric.HostNames.Where(other => other != host), other => fabric.FreeOf(other, claim.Model) > 0 && fabric.Suits(claim, other)));
    });

    [Fact]
    public void The_journal_alone_gives_the_state_that_was_acted_on() => Gen.Int.Sample(seed =>
    {
        var (fabric, _) = Drain(seed, failing: 0.3);

        Assert.Equal(fabric.State.ToSnapshot(), fabric.Journal.Aggregate(MovesState.Empty, static (sum, happened) => sum.Apply(happened)).ToSnapshot());
    });

    [Fact]
    public void A_rebalance_ends_and_moves_no_claim_twice() => Gen.Int.Sample(seed =>
    {
        var fabric = new ModelFabric(seed, failing: 0);
        var started = new RebalanceStarted { RequestedBy = "ops", DowntimeLimitMs = 300, At = 1 };
        started.Moves.AddRange(Rebalancing.Plan(fabric.Snapshot()).Select(MovesState.ToIntended));
        fabric.Happen(started);
        Run(fabric);

        Assert.NotNull(fabric.State.Rebalance!.Outcome);
        Assert.All(fabric.Claims, claim => Assert.InRange(claim.Committed, 0, 1));
    });

    [Fact]
    public void A_rebalance_leaves_hosts_no_more_unequal_than_they_were() => Gen.Int.Sample(seed =>
    {
        var fabric = new ModelFabric(seed, failing: 0);
        var before = Squares(fabric);
        foreach (var intent in Rebalancing.Plan(fabric.Snapshot()))
            Assert.NotEqual(intent.From, intent.To);
        var started = new RebalanceStarted { RequestedBy = "ops", At = 1 };
        started.Moves.AddRange(Rebalancing.Plan(fabric.Snapshot()).Select(MovesState.ToIntended));
        fabric.Happen(started);
        Run(fabric);

        Assert.True(Squares(fabric) <= before, $"{before} became {Squares(fabric)}");
    });

    /// <summary>Sum of the squares of the loads, by model: the smaller, the more even.</summary>
    private static int Squares(ModelFabric fabric) => fabric.Claims.GroupBy(static claim => (claim.Model, claim.Host)).Sum(static load => load.Count() * load.Count());

    private static (ModelFabric Fabric, string Host) Drain(int seed, double failing)
    {
        var fabric = new ModelFabric(seed, failing);
        var host = fabric.HostNames.First();
        fabric.Happen(fabric.DrainOf(host));
        Run(fabric);
        return (fabric, host);
    }

    /// <summary>Until nothing moves, and nothing waits but what is blocked.</summary>
    private static void Run(ModelFabric fabric)
    {
        for (var step = 0; step < LongEnough; step++)
        {
            if (!fabric.Step() || (!fabric.State.OpenMoves.Any() && !fabric.Waits.IsEmpty && fabric.Waits.All(static wait => wait.Blocked)))
                return;
        }

        Assert.Fail($"It had not ended after {LongEnough} looks; waiting: {string.Join("; ", fabric.Waits)}");
    }
}
