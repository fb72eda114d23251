using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>Claims leave a sick device as many at a time as may, and before what people only want moved.</summary>
public sealed class EvacuationTurnsTests
{
    private const long Now = 1_000_000;
    private static readonly MoveLimits Limits = new(PerFabric: 3, PerHost: 2);
    private static readonly MovesState Drained = MovesState.Empty.Apply(new DrainStarted { Host = "alpha", RequestedBy = "ops", DowntimeLimitMs = 250, At = 1 });
    private static readonly FleetSnapshot Three = Fleets.Of(
        Fleets.Host("alpha", 4, "c1", "c2", "c3"), Fleets.Host("beta"), Fleets.Claim("c1", "alpha"), Fleets.Claim("c2", "alpha"), Fleets.Claim("c3", "alpha"));

    private EvacuationTurns turns = EvacuationTurns.None;

    [Fact]
    public void As_many_leave_a_host_at_once_as_may()
    {
        Assert.Null(Ask("c1"));
        Assert.Null(Ask("c2"));

        Assert.Equal("2 migrations leave alpha; 2 at a time may", Ask("c3"));
    }

    [Fact]
    public void What_already_migrates_counts() => Assert.Equal(
        "3 migrations are under way; the fabric moves 3 at a time",
        Ask("c1", Three with { Claims = [.. Three.Claims, .. Enumerable.Range(0, 3).Select(static at => Fleets.Claim($"m{at}", "beta", ClaimPhase.Migrating))] }));

    [Fact]
    public void One_that_asks_again_has_the_turn_that_it_was_given()
    {
        Ask("c1");
        Ask("c2");

        Assert.Null(Ask("c1"));
    }

    [Fact]
    public void A_turn_is_free_again_when_its_claim_has_left()
    {
        Ask("c1");
        Ask("c2");

        Assert.Null(Ask("c3", Three with { Claims = Three.Claims.SetItem(0, Left("c1")) }));
    }

    [Fact]
    public void A_turn_is_free_again_when_its_claim_has_tried_and_failed()
    {
        Ask("c1");
        Ask("c2");
        var tried = Fleets.Claim("c1", "alpha") with { LastMigrations = [Fleets.Migration(1, "rolled-back")] };

        Assert.Null(Ask("c3", Three with { Claims = Three.Claims.SetItem(0, tried) }));
    }

    [Fact]
    public void A_turn_of_a_claim_that_found_no_target_is_lost_in_time()
    {
        Ask("c1");
        Ask("c2");

        Assert.Null(Ask("c3", at: Now + 10_000));
    }

    [Fact]
    public void A_drain_leaves_the_next_turn_to_one_that_waits_for_it()
    {
        Ask("c1");
        Ask("c2");
        Ask("c3");
        var left = Three with { Claims = [Left("c1"), Left("c2"), Fleets.Claim("c3", "alpha"), Fleets.Claim("c4", "alpha"), Fleets.Claim("c5", "alpha")] };

        Assert.Equal(["c3", "c4"], Decide(left).Orders.Select(static order => order.ClaimId));
        Assert.Equal("2 migrations leave alpha; 2 at a time may", Assert.Single(Decide(left).Waits).Reason);
    }

    [Fact]
    public void A_drain_does_not_wait_for_one_that_asks_no_more()
    {
        Ask("c1");
        Ask("c2");

        Assert.Equal(["c1", "c2"], Decide(Three, Now + 90_000).Orders.Select(static order => order.ClaimId));
    }

    [Fact]
    public void However_they_ask_no_more_are_on_their_way_than_may()
    {
        var seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        var random = new Random(seed);
        for (var run = 0; run < 200; run++)
            Walk(new Random(random.Next()));
    }

    /// <summary>Claims of three hosts ask at random, begin some time after their turn has come, end as they may, and are seen to later still.</summary>
    private static void Walk(Random random)
    {
        var (turns, now) = (EvacuationTurns.None, Now);
        var claims = Enumerable.Range(0, 12).Select(at => new Evacuee(Fleets.Claim($"c{at:00}", $"h{at % 3}"))).ToArray();
        for (var step = 0; step < 100; step++)
        {
            now += random.Next(1_000);
            foreach (var claim in claims)
                claim.GoOn(now, random);
            var asking = claims[random.Next(claims.Length)];
            if (!asking.IsOnItsWay)
            {
                var seen = Fleets.Of([.. claims.Select(claim => claim.SeenAt(now))]);
                turns = turns.Ask(new AskEvacuation(asking.Now.Id, asking.Now.Host, asking.Number), seen, MovesState.Empty, Limits, now, out var wait);
                if (wait is null)
                    asking.StartsAt = now + random.Next(5_000);
            }

            var leaving = claims.Where(static claim => claim.IsOnItsWay).ToArray();
            Assert.True(leaving.Length <= Limits.PerFabric, $"{leaving.Length} are on their way");
            Assert.All(leaving.CountBy(static claim => claim.Now.Host), static from => Assert.True(from.Value <= Limits.PerHost, $"{from.Value} leave {from.Key}"));
        }
    }

    private sealed class Evacuee(ClaimPlace first)
    {
        private readonly List<(long At, ClaimPlace Place)> shown = [(0, first)];

        public ClaimPlace Now => shown[^1].Place;

        /// <summary>It is its turn, and it has not begun.</summary>
        public long? StartsAt { get; set; }

        public bool IsOnItsWay => StartsAt is not null || Now.Phase == ClaimPhase.Migrating;

        public ClaimPlace SeenAt(long now) => shown.Last(one => one.At <= now).Place;

        public void GoOn(long now, Random random)
        {
            if (StartsAt <= now)
            {
                StartsAt = null;
                Show(now, random, Now with { Phase = ClaimPhase.Migrating, LastMigrations = [Fleets.Migration(Number + 1, null)] });
            }
            else if (Now.Phase == ClaimPhase.Migrating && random.Next(4) == 0)
            {
                Show(now, random, Now with { Phase = ClaimPhase.Running, LastMigrations = [Fleets.Migration(Number, "rolled-back")] });
            }
        }

        public int Number => Now.LastMigrations is [.., var last] ? last.Number : 0;

        private void Show(long now, Random random, ClaimPlace place) => shown.Add((Math.Max(shown[^1].At, now + random.Next(3_000)), place));
    }

    private static ClaimPlace Left(string claim) => Fleets.Claim(claim, "beta") with { LastMigrations = [Fleets.Migration(1, "committed")] };

    private static MoveDecision Decide(EvacuationTurns turns, FleetSnapshot fleet, long at) => MoveQueue.Decide(fleet.Under(Drained), Drained, turns, Limits, at);

    private MoveDecision Decide(FleetSnapshot fleet, long at = Now) => Decide(turns, fleet, at);

    private string? Ask(string claim, FleetSnapshot? fleet = null, long at = Now)
    {
        turns = turns.Ask(new AskEvacuation(claim, "alpha", 0), fleet ?? Three, MovesState.Empty, Limits, at, out var wait);
        return wait;
    }
}
