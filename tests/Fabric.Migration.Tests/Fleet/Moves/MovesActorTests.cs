using Akka.Actor;
using Akka.TestKit;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>The keeper of moves on a control node: writes first, tells claims then, and again after it died.</summary>
public sealed class MovesActorTests : LoneNode
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly FakeTimeProvider time = new(DateTimeOffset.UnixEpoch.AddDays(1));

    private TestProbe Claims => field ??= CreateTestProbe();

    private IActorRef Fleet { get; set; } = ActorRefs.Nobody;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Fleet = Sys.ActorOf(Props.Create(() => new FleetDouble()), FleetActor.Name);
    }

    [Fact]
    public async Task A_drain_is_answered_when_it_is_written_and_tells_the_claim_to_move()
    {
        var moves = await Begin("first");

        var accepted = Assert.IsType<MovesAccepted>(await Ask(moves, Drain));
        var told = await ToldToMove();

        Assert.Equal("alpha", accepted.Drain!.Host);
        Assert.Equal(("demo", "alpha", "beta", "move-1"), (told.ClaimId, told.From, told.TargetHost, told.Request));
    }

    [Fact]
    public async Task One_that_died_tells_the_claim_of_the_same_move_and_of_no_other()
    {
        var moves = await Begin("first");
        await Ask(moves, Drain);
        await ToldToMove();
        Watch(moves);
        Sys.Stop(moves);
        await ExpectTerminatedAsync(moves, Patience, cancellationToken: TestContext.Current.CancellationToken);
        while (Claims.HasMessages)
            await Claims.ReceiveOneAsync(Patience, TestContext.Current.CancellationToken);

        await Begin("second");

        Assert.Equal("move-1", (await ToldToMove()).Request);
    }

    [Fact]
    public async Task What_a_claim_refuses_is_shown_with_its_sentence()
    {
        var moves = await Begin("first");
        await Ask(moves, Drain);
        var told = await ToldToMove();

        moves.Tell(new ClaimRefused(RefusalCode.Plan, "beta has no such thing.") { Request = told.Request }, Claims);

        await AwaitConditionAsync(
            async () => (await Described()).Moves?.Drains.SingleOrDefault()?.Claims.SingleOrDefault()?.Reason?.Contains("beta has no such thing.", StringComparison.Ordinal) == true,
            Patience, cancellationToken: TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_plan_changes_nothing()
    {
        var moves = await Begin("first");

        var planned = Assert.IsType<MovesPlanned>(await Ask(moves, new DrainHost("alpha", 300, "ops", PlanOnly: true)));

        Assert.Equal(("demo", "planned", "beta"), (Assert.Single(planned.Claims) is var claim ? (claim.ClaimId, claim.State, claim.To) : default));
        Assert.Empty((await Described()).Moves?.Drains ?? []);
    }

    [Fact]
    public async Task A_host_that_came_after_the_last_look_is_drained()
    {
        var moves = await Begin("first");
        await Ask(moves, Drain with { PlanOnly = true });
        Fleet.Tell(new Joined("gamma"));

        var accepted = Assert.IsType<MovesAccepted>(await Ask(moves, Drain with { Host = "gamma" }));

        Assert.Equal("gamma", accepted.Drain!.Host);
    }

    [Fact]
    public async Task A_host_that_is_not_there_is_not_drained()
    {
        var refused = Assert.IsType<MovesRefused>(await Ask(await Begin("first"), new DrainHost("omega", 300, "ops", PlanOnly: false)));

        Assert.Equal((RefusalCode.NotFound, "There is no host omega in the fabric; list the hosts."), (refused.Code, refused.Sentence));
    }

    [Fact]
    public async Task Hosts_that_fall_silent_trip_the_breaker()
    {
        var moves = await Begin("first");
        Fleet.Tell(Silence.Instance);

        await Ask(moves, Drain with { PlanOnly = true });

        await AwaitConditionAsync(
            async () => (await Described()).Moves?.Breaker.Reason is not null, Patience, cancellationToken: TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task One_that_stood_still_does_not_take_the_silence_that_it_wakes_up_in_for_the_fabrics()
    {
        var moves = await Begin("first");
        await Ask(moves, Drain with { PlanOnly = true });
        time.Advance(TimeSpan.FromSeconds(30));
        Fleet.Tell(Silence.Instance);

        await Ask(moves, Drain with { PlanOnly = true });
        await Ask(moves, Drain);

        await AwaitConditionAsync(async () => (await Described()).Moves is not null, Patience, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Null((await Described()).Moves!.Breaker.Reason);
    }

    [Fact]
    public async Task A_claim_that_asks_for_its_turn_to_leave_is_told_when_it_is()
    {
        var moves = await Begin("first");

        Assert.Equal(
            new EvacuationTurn("c1", null),
            await moves.Ask<EvacuationTurn>(new AskEvacuation("c1", "alpha", 0), Patience, TestContext.Current.CancellationToken));
    }

    private static DrainHost Drain => new("alpha", 300, "ops", PlanOnly: false);

    private async Task<IActorRef> Begin(string name)
    {
        var moves = Sys.ActorOf(MovesActor.Props(Claims, MovesOptions.Default, new BegunLongAgo(time)), name);
        await moves.Ask<ActorIdentity>(new Identify(name), Patience, TestContext.Current.CancellationToken);
        return moves;
    }

    /// <summary>Of one that had heard of every claim before it looked first.</summary>
    private sealed class BegunLongAgo(TimeProvider time) : TimeProvider
    {
        private int asked;

        public override long TimestampFrequency => time.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => time.GetUtcNow();

        public override long GetTimestamp() =>
            time.GetTimestamp() - (Interlocked.Increment(ref asked) == 1 ? 60 * TimestampFrequency : 0);
    }

    private async Task<StartMigration> ToldToMove() => await Claims.ExpectMsgAsync<StartMigration>(Patience, cancellationToken: TestContext.Current.CancellationToken);

    private static async Task<object> Ask(IActorRef moves, IMovesCommand command) => await moves.Ask<object>(command, Patience, TestContext.Current.CancellationToken);

    private async Task<FleetDescribed> Described() => await Fleet.Ask<FleetDescribed>(new DescribeFleet(), Patience, TestContext.Current.CancellationToken);

    private sealed record Joined(string Host);

    private sealed record Silence
    {
        public static Silence Instance { get; } = new();
    }

    /// <summary>Two hosts, and a claim on the first; of moves it shows what it was told last.</summary>
    private sealed class FleetDouble : UntypedActor
    {
        private FleetDescribed described = new(
            [Host("alpha", "demo"), Host("beta", null)],
            [new ClaimView("demo", [new ClaimedDevice("accelerator-vf", "fab0:01:00.1")], ClaimPhase.Running, "alpha", 1, "alpha", null, DateTimeOffset.UnixEpoch, null, [])]);

        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case DescribeFleet:
                    Sender.Tell(described);
                    break;
                case Silence:
                    described = described with { Hosts = [.. described.Hosts.Select(static host => host with { State = "unreachable" })] };
                    break;
                case Joined joined:
                    described = described with { Hosts = [.. described.Hosts, Host(joined.Host, null)] };
                    break;
                case MovesPortion { Telling.Portions: 1 } told:
                    described = described with { Moves = told.Part };
                    break;
            }
        }

        private static FleetHost Host(string host, string? claim) => new(host, "up", "", new HostInventory(host, $"http://{host}", "1.0",
        [
            new DeviceEntry("fab0:01:00.1", "1b36:fab1", "accelerator-vf", false, "accelerator", claim is null ? "closed" : "open", "Healthy", null, null, null, claim, 1, null, null, 0, [], null),
        ]));
    }
}
