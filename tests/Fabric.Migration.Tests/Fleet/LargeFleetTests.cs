using System.Collections.Concurrent;
using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;
using Fabric.Migration.Wire;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>A thousand hosts of 64 devices each, as one control node hears of them.</summary>
public sealed class LargeFleetTests : LoneNode
{
    private const int Hosts = 1000;
    private const int Devices = 64;
    private const int Claims = 10_000;

    private static readonly WireContract Contract = WireContract.From(typeof(IWireMessage).Assembly);

    /// <summary>Bytes of the largest message of each type that crossed.</summary>
    private readonly ConcurrentDictionary<Type, int> crossed = [];

    [Theory]
    [InlineData(1)]
    [InlineData(20261126)]
    public async Task Whatever_the_order_in_which_hosts_tell_the_fleet_shows_what_each_told_last(int seed)
    {
        var random = new Random(seed);
        var fleet = Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), FleetActor.Name);
        // Those of one host come in order, as remoting has it; those of different hosts as they will.
        var turns = Enumerable.Range(0, Hosts).SelectMany(static host => Enumerable.Repeat(host, 3)).ToArray();
        random.Shuffle(turns);
        var last = new HostInventory?[Hosts];
        foreach (var host in turns)
        {
            last[host] = Inventory(host, random);
            Tellings.Tell(fleet, last[host]!);
        }

        var described = await fleet.Ask<FleetDescribed>(new DescribeFleet(), TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);

        // Records that hold arrays are equal when they are the same; nothing is copied within a node.
        Assert.Equal(last, described.Hosts.Select(static host => host.Inventory).OfType<HostInventory>());
    }

    [Fact]
    public async Task All_of_it_is_told_and_read_in_messages_that_may_cross()
    {
        var random = new Random(1);
        var fleet = Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), FleetActor.Name);
        // One of the hosts has as many functions as a page of hosts.
        var hosts = Enumerable.Range(0, Hosts).Select(host => Inventory(host, random, host == 500 ? 4000 : Devices)).ToArray();
        var claims = Enumerable.Range(0, Claims).Select(Claim).ToArray();
        var moves = Moves(Claims);
        foreach (var portion in hosts.SelectMany(static host => InventoryPortion.Of(host, Guid.NewGuid(), 1)))
            fleet.Tell(Cross(portion));
        foreach (var claim in claims)
            fleet.Tell(Cross(new ClaimChanged(claim)));
        foreach (var portion in MovesPortion.Of(moves, Guid.NewGuid(), 1))
            fleet.Tell(Cross(portion));

        var read = await Reader(fleet).ReadAsync(
            new FleetQuestion { Hosts = true, Claims = true, Moves = true }, TestContext.Current.CancellationToken);

        Assert.All(crossed, static type => Assert.InRange(type.Value, 1, WireContract.MaxMessageBytes));
        Assert.Equal(
            hosts.Select(static host => (host.Host, Text(host.Devices))),
            read.Hosts.Where(static host => host.Inventory is not null).Select(static host => (host.Name, Text(host.Inventory!.Devices))));
        Assert.Equal(claims.Select(static claim => claim.Id), read.Claims.Select(static claim => claim.Id));
        Assert.Equal(moves.Drains.Select(static drain => drain.Host), read.Moves!.Drains.Select(static drain => drain.Host));
        Assert.Equal(moves.Drains.SelectMany(static drain => drain.Claims), read.Moves.Drains.SelectMany(static drain => drain.Claims));
        Assert.Equal(moves.Rebalance!.Claims, read.Moves.Rebalance!.Claims);
        Assert.Equal(moves.Breaker.Misbehaving, read.Moves.Breaker.Misbehaving);
    }

    [Fact]
    public void Answers_to_commands_cross_with_as_many_claims_as_fit_and_count_the_others()
    {
        var (drain, rebalance, breaker) = (Moves(Claims).Drains[0], Moves(Claims).Rebalance!, Moves(Claims).Breaker);
        drain = drain with { Claims = rebalance.Claims };

        var planned = (MovesPlanned)Cross(MovesPlanned.Of(rebalance.Claims));
        var drained = ((MovesAccepted)Cross(MovesAccepted.Of(drain))).Drain!;
        var begun = ((MovesAccepted)Cross(MovesAccepted.Of(rebalance))).Rebalance!;
        var reset = ((MovesAccepted)Cross(MovesAccepted.Of(breaker))).Breaker!;

        Assert.All(crossed, static type => Assert.InRange(type.Value, 1, WireContract.MaxMessageBytes));
        Assert.Equal(
            [rebalance.Claims.Length, rebalance.Claims.Length, rebalance.Claims.Length, breaker.Misbehaving.Length],
            [planned.Claims.Length + planned.More, drained.Claims.Length + drained.More, begun.Claims.Length + begun.More, reset.Misbehaving.Length + reset.More]);
        Assert.All([planned.Claims.Length, drained.Claims.Length, begun.Claims.Length, reset.Misbehaving.Length], static shown => Assert.InRange(shown, 100, 5000));
    }

    [Fact]
    public void Of_a_thousand_hosts_that_will_not_do_the_first_few_say_why_and_the_others_are_counted()
    {
        var fleet = FleetSnapshot.Of(new FleetDescribed(
            [.. Enumerable.Range(0, Hosts).Select(static host => new FleetHost($"host-{host:0000}", "up", "", Inventory(host, new Random(host))))],
            [Claim(1) with { Select = ["zone=a"] }]));
        var drained = MovesState.Empty.Apply(new DrainStarted { Host = "host-0001", RequestedBy = "ops", DowntimeLimitMs = 300, At = 1 });

        var wait = Assert.Single(MoveQueue.Decide(fleet.Under(drained), drained, EvacuationTurns.None, new MoveLimits(), 2).Waits);

        Assert.Contains("host-0007 has not the label zone=a", wait.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain("host-0012", wait.Reason, StringComparison.Ordinal);
        Assert.EndsWith("There are 991 more reasons; name a host to see its own.", wait.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_rebalance_of_a_thousand_hosts_leaves_no_two_that_differ_by_more_than_one_claim()
    {
        // All claims on the first half of the hosts.
        var devices = Enumerable.Range(0, 20).Select(static slot => Device(slot, free: true)).ToArray();
        var claims = Enumerable.Range(0, 5000).Select(static number => Claim(number) with { Host = $"host-{number % (Hosts / 2):0000}" }).ToArray();
        var fleet = FleetSnapshot.Of(new FleetDescribed(
            [.. Enumerable.Range(0, Hosts).Select(host => new FleetHost($"host-{host:0000}", "up", "", new HostInventory($"host-{host:0000}", "", "", devices)))],
            claims));

        var plan = Rebalancing.Plan(fleet);

        var after = claims.ToDictionary(static claim => claim.Id, static claim => claim.Host!);
        foreach (var intent in plan)
            after[intent.ClaimId] = intent.To;
        var loads = after.Values.CountBy(static host => host).Select(static host => host.Value).ToArray();
        Assert.Equal((Hosts, 5, 5, 2500), (loads.Length, loads.Min(), loads.Max(), plan.Length));
    }

    [Fact]
    public async Task One_host_and_one_claim_are_read_without_the_others()
    {
        var random = new Random(1);
        var fleet = Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), FleetActor.Name);
        for (var host = 0; host < 100; host++)
            Tellings.Tell(fleet, Inventory(host, random));
        for (var claim = 0; claim < 100; claim++)
            fleet.Tell(new ClaimChanged(Claim(claim)));

        var read = await Reader(fleet).ReadAsync(
            new FleetQuestion { Hosts = true, Host = "host-0042", Claims = true, Claim = "claim-00042" }, TestContext.Current.CancellationToken);

        Assert.Equal(("host-0042", "claim-00042"), (Assert.Single(read.Hosts).Name, Assert.Single(read.Claims).Id));
    }

    [Fact]
    public async Task Of_the_claims_that_were_released_the_last_are_remembered()
    {
        var fleet = Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), FleetActor.Name);
        fleet.Tell(new ClaimChanged(Claim(99_999)));
        for (var claim = 0; claim < FleetActor.ReleasedKept + 10; claim++)
        {
            fleet.Tell(new ClaimChanged(Claim(claim)));
            fleet.Tell(new ClaimChanged(Claim(claim) with { Phase = ClaimPhase.Released }));
            fleet.Tell(new ClaimChanged(Claim(claim) with { Phase = ClaimPhase.Released }));
        }

        var known = (await fleet.Ask<FleetDescribed>(new DescribeFleet(), TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken)).Claims;

        Assert.Equal(
            ["claim-99999", .. Enumerable.Range(10, FleetActor.ReleasedKept).Select(static claim => Claim(claim).Id)],
            known.OrderBy(static claim => claim.Phase).ThenBy(static claim => claim.Id, StringComparer.Ordinal).Select(static claim => claim.Id));
    }

    /// <summary>Reads a fleet as from another node.</summary>
    private FleetReader Reader(IActorRef fleet) => new(Sys.ActorOf(Props.Create(() => new Link(fleet, Cross))), TimeSpan.FromSeconds(30), attempts: 1);

    /// <summary>What comes out at the other end.</summary>
    private object Cross(object message)
    {
        var bytes = Contract.Codec.Write(message);
        crossed.AddOrUpdate(message.GetType(), bytes.Length, (_, most) => Math.Max(most, bytes.Length));
        return Contract.Codec.Read(bytes);
    }

    private sealed class Link(IActorRef fleet, Func<object, object> cross) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            var asker = Sender;
            fleet.Ask<object>(cross(message), TimeSpan.FromSeconds(30)).PipeTo(asker, success: cross);
        }
    }

    private static string Text(IEnumerable<DeviceEntry> devices) => string.Join(' ', devices.Select(static device => $"{device.Address} {device.State}"));

    private static ClaimView Claim(int number) => new(
        $"claim-{number:00000}", [new ClaimedDevice("accelerator-vf", $"fab0:01:00.{number % 8}")], ClaimPhase.Running, $"host-{number % Hosts:0000}", 1, "control-1",
        null, DateTimeOffset.UnixEpoch, null, []);

    /// <summary>Every fourth host is drained, and all that runs there is to move; what is elsewhere is rebalanced, and a host in two misbehaves.</summary>
    private static MovesView Moves(int claims)
    {
        var moving = Enumerable.Range(0, claims).ToLookup(static claim => claim % Hosts, static claim => new MovingClaim(
            $"claim-{claim:00000}", "waiting", $"host-{claim % Hosts:0000}", null, "5 migrations are under way; the fabric moves 5 at a time", 0));
        var drained = moving.Where(static host => host.Key % 4 == 0);
        return new MovesView(
            [.. drained.Select(static host => new DrainView($"host-{host.Key:0000}", "draining", "ops", DateTimeOffset.UnixEpoch, [.. host]))],
            new RebalanceView("running", "ops", DateTimeOffset.UnixEpoch, [.. moving.Where(static host => host.Key % 4 != 0).SelectMany(static host => host)]),
            new BreakerView("too much broke", DateTimeOffset.UnixEpoch, null, null, [.. Enumerable.Range(0, Hosts * Devices / 2).Select(static one => $"host-0001/fab0:{one}")]));
    }

    private static HostInventory Inventory(int host, Random random, int devices = Devices) => new(
        $"host-{host:0000}", "http://127.0.0.1", "1.0", [.. Enumerable.Range(0, devices).Select(slot => Device(slot, random.Next(2) == 0))]);

    private static DeviceEntry Device(int slot, bool free) => new(
        $"fab0:{1 + (slot / 8):x2}:00.{slot % 8}", "1b36:fab0", "accelerator-vf", Physical: false, "driver", free ? "closed" : "open", "Healthy", null, null, null,
        free ? null : $"claim-{slot}", null, slot, null, 0, [], null);
}
