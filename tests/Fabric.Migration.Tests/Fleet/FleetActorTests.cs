using Akka.Actor;
using Akka.TestKit;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>What a control node knows of its fabric, and what it remembers.</summary>
public sealed class FleetActorTests : LoneNode
{
    private IActorRef Fleet => field ??= Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), FleetActor.Name);

    [Fact]
    public async Task A_host_that_has_told_nothing_yet_is_there_without_devices()
    {
        var host = Assert.Single((await Describe()).Hosts);

        Assert.Equal(("alpha", "up", null), (host.Name, host.State, host.Inventory));
    }

    [Fact]
    public async Task A_host_is_shown_with_the_last_inventory_it_told()
    {
        Tellings.Tell(Fleet, Inventory("alpha", "1.0"));
        Tellings.Tell(Fleet, Inventory("alpha", "1.1"));

        Assert.Equal("1.1", Assert.Single((await Describe()).Hosts).Inventory!.Version);
    }

    [Fact]
    public async Task A_host_that_is_no_member_any_more_is_down_and_still_shown()
    {
        Tellings.Tell(Fleet, Inventory("beta", "1.0"));

        Assert.Equal([("alpha", "up"), ("beta", "down")], (await Describe()).Hosts.Select(host => (host.Name, host.State)));
    }

    [Fact]
    public async Task Claims_are_shown_by_id_each_as_it_was_told_last()
    {
        Fleet.Tell(new ClaimChanged(Claim("b", ClaimPhase.Running)));
        Fleet.Tell(new ClaimChanged(Claim("a", ClaimPhase.Placing)));
        Fleet.Tell(new ClaimChanged(Claim("a", ClaimPhase.Running)));

        Assert.Equal([("a", ClaimPhase.Running), ("b", ClaimPhase.Running)], (await Describe()).Claims.Select(claim => (claim.Id, claim.Phase)));
    }

    [Fact]
    public async Task A_follower_hears_what_is_remembered_after_its_place_and_then_what_comes()
    {
        var follower = CreateTestProbe();
        var place = await OwnArrival();
        Happen("first");
        Happen("second");
        Fleet.Tell(new FollowEvents(place + 1), follower);
        Happen("third");

        Assert.Equal(
            [(place + 2, "second"), (place + 3, "third")],
            new[] { await Next(follower), await Next(follower) }.Select(numbered => (numbered.Id, numbered.Event.Subject)));
    }

    [Fact]
    public async Task A_thousand_events_are_remembered()
    {
        await OwnArrival();
        for (var i = 0; i < 1100; i++)
            Happen($"{i}");
        var follower = CreateTestProbe();
        Fleet.Tell(new FollowEvents(AfterId: 0), follower);

        Assert.Equal("100", (await Next(follower)).Event.Subject);
    }

    [Fact]
    public async Task A_node_that_came_is_an_event()
    {
        var follower = CreateTestProbe();
        Fleet.Tell(new FollowEvents(AfterId: 0), follower);

        var up = await Next(follower);

        Assert.Equal(("node.up", "alpha"), (up.Event.Kind, up.Event.Subject));
    }

    [Fact]
    public async Task A_claim_may_not_come_to_a_host_that_is_drained()
    {
        Tellings.Tell(Fleet, new MovesView([new DrainView("alpha", "draining", "ops", DateTimeOffset.UnixEpoch, [])], null, Untripped));

        Assert.Equal("Host alpha is drained, as ops asked; undrain it, or choose another.", Assert.Single((await Rank(automatic: false)).Reasons));
    }

    [Fact]
    public async Task A_claim_that_moves_by_itself_is_held_while_the_breaker_has_tripped()
    {
        Tellings.Tell(Fleet, new MovesView([], null, Untripped with { Reason = "too much broke" }));

        Assert.Equal("the breaker has stopped automatic moves: too much broke; look at what misbehaves, then reset it", (await Rank(automatic: true)).Held);
    }

    [Fact]
    public async Task A_claim_that_somebody_moves_is_not_held_by_the_breaker()
    {
        Tellings.Tell(Fleet, new MovesView([], null, Untripped with { Reason = "too much broke" }));

        Assert.Equal(["alpha"], (await Rank(automatic: false)).Hosts);
    }

    [Fact]
    public async Task Where_a_claim_may_be_is_not_said_before_it_is_known_what_is_drained()
    {
        var asker = CreateTestProbe();
        Fleet.Tell(Question(automatic: false), asker);
        Tellings.Tell(Fleet, new MovesView([], null, Untripped));
        Fleet.Tell(Question(automatic: false) with { Only = "alpha" }, asker);

        await asker.ExpectMsgAsync<HostsRanked>(TimeSpan.FromSeconds(10), cancellationToken: TestContext.Current.CancellationToken);
        await asker.ExpectNoMsgAsync(TimeSpan.Zero, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_claim_that_leaves_a_sick_device_is_held_until_it_is_its_turn()
    {
        Tellings.Tell(Fleet, new MovesView([], null, Untripped));
        Sys.ActorOf(Props.Create(() => new Turns("2 migrations leave alpha; 2 at a time may", null)), $"{MovesActor.Name}-proxy");

        Assert.Equal("2 migrations leave alpha; 2 at a time may", (await Rank(automatic: true, leaves: true)).Held);
        Assert.Equal(["alpha"], (await Rank(automatic: true, leaves: true)).Hosts);
    }

    /// <summary>Stands for the fabric's moves: says of each turn in turn what it was made with.</summary>
    private sealed class Turns : ReceiveActor
    {
        public Turns(params string?[] waits)
        {
            var left = new Queue<string?>(waits);
            Receive<AskEvacuation>(ask => Sender.Tell(new EvacuationTurn(ask.ClaimId, left.Dequeue())));
        }
    }

    private static BreakerView Untripped => new(null, null, null, null, []);

    private static RankHosts Question(bool automatic) => new(new PlacementNeeds("demo", ["accelerator-vf"], [], null), null, null, automatic, 0);

    private Task<HostsRanked> Rank(bool automatic, bool leaves = false) =>
        Fleet.Ask<HostsRanked>(Question(automatic) with { Leaves = leaves ? new AskEvacuation("demo", "alpha", 0) : null }, TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);

    private void Happen(string subject) => Fleet.Tell(new FabricEvent(DateTimeOffset.UnixEpoch, "test.happened", subject, "alpha", "it happened"));

    /// <summary>The number of this node's own arrival: the only event that no test made.</summary>
    private async Task<long> OwnArrival()
    {
        var follower = CreateTestProbe();
        Fleet.Tell(new FollowEvents(AfterId: 0), follower);
        return (await Next(follower)).Id;
    }

    private static async Task<NumberedEvent> Next(TestProbe follower) =>
        await follower.ExpectMsgAsync<NumberedEvent>(TimeSpan.FromSeconds(10), cancellationToken: TestContext.Current.CancellationToken);

    private async Task<FleetDescribed> Describe() => await Fleet.Ask<FleetDescribed>(new DescribeFleet(), TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);

    private static HostInventory Inventory(string host, string version) => new(host, $"http://{host}", version, []);

    private static ClaimView Claim(string id, ClaimPhase phase) =>
        new(id, [new ClaimedDevice("accelerator", "fab0:01:00.1")], phase, "alpha", 1, "alpha", null, DateTimeOffset.UnixEpoch, null, []);
}
