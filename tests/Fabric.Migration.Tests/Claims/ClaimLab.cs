using System.Collections.Concurrent;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Configuration;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Migration.Tests.Fleet;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Claims;

/// <summary>
/// Two nodes of one cluster in this process: alpha, control and host, where the claims under test are, and beta, a host. Their gateways are
/// doubles that act as each claim under test says; its journal fails when it says so. Shared, since a cluster takes seconds to form.
/// </summary>
public sealed class ClaimLab : IAsyncLifetime
{
    private readonly ClaimStage stage = new();
    private ActorSystem alpha = null!;
    private ActorSystem beta = null!;
    private IActorRef fleet = ActorRefs.Nobody;
    private int claims;

    public async ValueTask InitializeAsync()
    {
        alpha = Start("alpha", FabricMembers.ControlRole, FabricMembers.HostRole);
        beta = Start("beta", FabricMembers.HostRole);
        var up = new[] { Up(alpha), Up(beta) };
        var first = Cluster.Get(alpha).SelfAddress;
        await Cluster.Get(alpha).JoinAsync(first, TestContext.Current.CancellationToken);
        await Cluster.Get(beta).JoinAsync(first, TestContext.Current.CancellationToken);
        await Task.WhenAll(up).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        fleet = alpha.ActorOf(FleetActor.Props(TimeProvider.System), FleetActor.Name);
        alpha.ActorOf(Props.Create(() => new Listener(fleet, stage)));
        alpha.ActorOf(Props.Create(() => new AlwaysItsTurn()), $"{MovesActor.Name}-proxy");
        Moves();
    }

    public async ValueTask DisposeAsync() => await Task.WhenAll(alpha.Terminate(), beta.Terminate());

    internal ClaimUnderTest NewClaim(TimeProvider? time = null)
    {
        var claim = new ClaimUnderTest($"c{Interlocked.Increment(ref claims)}");
        stage.Claims[claim.Id] = claim;
        claim.Keeper = alpha.ActorOf(Props.Create(() => new Keeper(claim, time ?? TimeProvider.System)), $"keeper-{claim.Id}");
        return claim;
    }

    /// <summary>A function of some host is free that was not: what a control node's fleet says of it.</summary>
    internal void Frees() => alpha.EventStream.Publish(FleetChanged.Instance);

    /// <summary>What a control node's fleet hears of moves.</summary>
    internal void Moves(params string[] drained) => Tellings.Tell(fleet, new MovesView(
        [.. drained.Select(static host => new DrainView(host, "draining", "ops", DateTimeOffset.UnixEpoch, []))], null, new BreakerView(null, null, null, null, [])));

    private ActorSystem Start(string name, params string[] roles)
    {
        var contract = WireContract.From(typeof(IWireMessage).Assembly);
        var config = ConfigurationFactory.ParseString($$"""
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              log-dead-letters = off
              actor.provider = cluster
              remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
              cluster.roles = [{{string.Join(',', FabricMembers.RolesOf(name, roles, null).Select(role => $"\"{role}\""))}}]
              cluster.failure-detector.acceptable-heartbeat-pause = 120s
              coordinated-shutdown.run-by-actor-system-terminate = off
              persistence.journal {
                plugin = "akka.persistence.journal.faulty"
                faulty {
                  class = "{{typeof(FaultyJournal).FullName}}, {{typeof(FaultyJournal).Assembly.GetName().Name}}"
                  plugin-dispatcher = "akka.actor.default-dispatcher"
                }
              }
              persistence.snapshot-store.plugin = "akka.persistence.snapshot-store.inmem"
            }

            """ + WireConfig.ClusterHocon + ClaimJournalSerializer.Hocon);
        var system = ActorSystem.Create(
            "fabric", ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config), new WireSetup(contract)).And(stage));
        system.ActorOf(Props.Create(() => new GatewayDouble(name, stage)), HostGateway.Name);
        stage.Gateways.Add(new RootActorPath(Cluster.Get(system).SelfAddress) / "user" / HostGateway.Name);
        return system;
    }

    private static Task Up(ActorSystem system)
    {
        var up = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Cluster.Get(system).RegisterOnMemberUp(up.SetResult);
        return up.Task;
    }

    private sealed class GatewayDouble(string host, ClaimStage stage) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case IHostCommand command when stage.Claims.TryGetValue(command.ClaimId, out var claim):
                    foreach (var report in claim.Receive(host, command))
                        claim.Keeper.Tell(report);
                    break;
                case ClaimStage.Flush:
                    Sender.Tell(message);
                    break;
            }
        }
    }

    /// <summary>Hears what the fabric tells people of the claims under test.</summary>
    private sealed class Listener(IActorRef fleet, ClaimStage stage) : UntypedActor
    {
        protected override void PreStart() => fleet.Tell(new FollowEvents(AfterId: 0));

        protected override void OnReceive(object message)
        {
            if (message is NumberedEvent { Event: var told } && stage.Claims.TryGetValue(told.Subject, out var claim))
                claim.Events.Enqueue((told.Kind, told.Message));
        }
    }

    /// <summary>Stands for the fabric's moves, of which there are none.</summary>
    private sealed class AlwaysItsTurn : ReceiveActor
    {
        public AlwaysItsTurn() => Receive<AskEvacuation>(ask => Sender.Tell(new EvacuationTurn(ask.ClaimId, null)));
    }

    /// <summary>Stands for the claim's shard: whenever the claim's actor ends, it is taken up anew.</summary>
    private sealed class Keeper(ClaimUnderTest claim, TimeProvider time) : UntypedActor
    {
        private readonly SeenMembers members = new(new FabricMembers(Context.System), claim);
        private IActorRef actor = ActorRefs.Nobody;
        private int lives;

        protected override void PreStart() => Begin();

        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case ClaimUnderTest.Kill:
                    Context.Stop(actor);
                    break;
                case Passivate:
                    claim.Add("passivated");
                    break;
                case Terminated:
                    Begin();
                    break;
                default:
                    actor.Forward(message);
                    break;
            }
        }

        private void Begin()
        {
            actor = Context.ActorOf(ClaimActor.Props(claim.Id, members, time), $"life-{++lives}");
            Context.Watch(actor);
            claim.Add($"life {lives}");
        }
    }
}

/// <summary>The members of the cluster, with some of them as a claim under test is to see them.</summary>
internal sealed class SeenMembers(IFabricMembers members, ClaimUnderTest claim) : IFabricMembers
{
    public string Self => members.Self;

    public IEnumerable<string> AnsweringHosts => members.AnsweringHosts;

    public HostPresence PresenceOf(string host) => claim.Presences.TryGetValue(host, out var presence) ? presence : members.PresenceOf(host);

    public void TellHost(string host, object message) => members.TellHost(host, message);

    public void TellControls(object message) => members.TellControls(message);

    public void AskFleet(RankHosts question, IActorRef asker) => members.AskFleet(question, asker);
}

/// <summary>What the doubles of both nodes share.</summary>
internal sealed class ClaimStage : Setup
{
    public const string Flush = "flush";

    public ConcurrentDictionary<string, ClaimUnderTest> Claims { get; } = [];

    public ConcurrentBag<ActorPath> Gateways { get; } = [];
}

[CollectionDefinition(Name)]
public sealed class ClaimLabCollection : ICollectionFixture<ClaimLab>
{
    public const string Name = "claim lab";
}
