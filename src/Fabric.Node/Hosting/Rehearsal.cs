using System.Threading.Channels;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Claims;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Node.Consumers;

namespace Fabric.Node.Hosting;

/// <summary>
/// Two migrations of a claim that nobody else knows of, before a daemon takes part in a fabric: what runs while a workload stands, on its hosts
/// and where its claim is, is compiled here, and not while the first one stands. On a busy machine that alone can take a downtime limit.
/// </summary>
internal sealed class Rehearsal : IAsyncDisposable
{
    private const string Claim = "rehearsal";
    private const string Source = "source";
    private const string Target = "target";
    private const int MemoryBytes = 1 << 20;
    private const int StepsPerSecond = 20_000;
    private const int StopLimitMs = 200;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly EmulatedBus bus;
    private readonly DataPlaneListener listener;
    private readonly ActorSystem system;
    private readonly Stage stage;
    private readonly IActorRef claim;

    private Rehearsal(ILoggerFactory loggers, TimeProvider time)
    {
        bus = new EmulatedBus(new EmulatedBusOptions(1, 2, AcceleratorState.Granule), time);
        listener = new DataPlaneListener(loggers.CreateLogger("Rehearsal"));
        system = ActorSystem.Create("rehearsal", "akka { loglevel = OFF, stdout-loglevel = OFF }\n" + ClaimJournalSerializer.Hocon);
        var devices = system.ActorOf(
            HostActor.Props(new Fabric.Devices.HostOptions(
                bus, HostDrivers.Without([]), [], function => (function as AcceleratorVirtualFunction)?.StateBytes, time)),
            "host");
        var consumers = new GuestFactory(time);
        stage = new Stage(new Dictionary<string, (IActorRef, string)>
        {
            [Source] = (system.ActorOf(AttachmentsActor.Props(Source, devices, consumers, listener, time), Source), "fab0:01:00.1"),
            [Target] = (system.ActorOf(AttachmentsActor.Props(Target, devices, consumers, listener, time), Target), "fab0:01:00.2"),
        });
        claim = system.ActorOf(Props.Create(() => new Shard(stage, time)), "shard");
        stage.ConnectTo(claim);
    }

    /// <returns>Null, or why it did not come to its end: the daemon can be used all the same.</returns>
    public static async Task<string?> RunAsync(ILoggerFactory loggers, TimeProvider time)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        await using var rehearsal = new Rehearsal(loggers, time);
        try
        {
            await rehearsal.PlayAsync(limit.Token);
            return null;
        }
        catch (RehearsalFailed failed)
        {
            return failed.Message;
        }
        catch (OperationCanceledException)
        {
            return $"it did not end within {Limit.TotalSeconds:0} s";
        }
    }

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        await listener.DisposeAsync();
        bus.Dispose();
    }

    /// <summary>There, given up after the stop, and once more.</summary>
    private async Task PlayAsync(CancellationToken cancellation)
    {
        claim.Tell(new CreateClaim(Claim, [new DeviceAsk(EmulatedModels.Accelerator)], Source, MemoryBytes, StepsPerSecond, Claim, DateTimeOffset.MaxValue));
        await SeeAsync(static seen => seen.Phase == ClaimPhase.Running, cancellation);
        stage.HoldsUpTheStop = true;
        await MigrateAsync(StopLimitMs, "rolled-back", cancellation);
        stage.HoldsUpTheStop = false;
        await MigrateAsync((int)Limit.TotalMilliseconds, "committed", cancellation);
        claim.Tell(new ReleaseClaim(Claim, Claim));
        await SeeAsync(static seen => seen.Phase == ClaimPhase.Released, cancellation);
    }

    private async Task MigrateAsync(int stopLimitMs, string outcome, CancellationToken cancellation)
    {
        claim.Tell(new StartMigration(Claim, Target, stopLimitMs, (int)Limit.TotalMilliseconds, BandwidthLimit: 0, Claim));
        await SeeAsync(static seen => seen.Phase == ClaimPhase.Migrating, cancellation);
        var ended = await SeeAsync(static seen => seen.Phase != ClaimPhase.Migrating, cancellation);
        if (ended.Migrations[^1].Outcome != outcome)
            throw new RehearsalFailed($"a migration that was to be {outcome} is {ended.Migrations[^1].Outcome}: {ended.Migrations[^1].Reason}");
    }

    private async Task<ClaimView> SeeAsync(Func<ClaimView, bool> wanted, CancellationToken cancellation)
    {
        while (true)
        {
            switch (await stage.Told.ReadAsync(cancellation))
            {
                case ClaimChanged { Claim: var seen } when wanted(seen):
                    return seen;
                case ClaimChanged { Claim.Phase: ClaimPhase.Failed } changed:
                    throw new RehearsalFailed($"its claim failed: {changed.Claim.Message}");
                case ClaimRefused refused:
                    throw new RehearsalFailed(refused.Sentence);
            }
        }
    }

    private sealed class RehearsalFailed(string message) : Exception(message);

    /// <summary>A fabric of two hosts in this process.</summary>
    private sealed class Stage(Dictionary<string, (IActorRef Host, string Device)> hosts) : IFabricMembers
    {
        private readonly Channel<object> told = Channel.CreateUnbounded<object>();
        private IActorRef keeper = ActorRefs.Nobody;

        public ChannelReader<object> Told => told.Reader;

        /// <summary>The claim does not hear that the target has everything, so that the limit of the stop is passed.</summary>
        public bool HoldsUpTheStop { get => Volatile.Read(ref field); set => Volatile.Write(ref field, value); }

        public string Self => Claim;

        public IEnumerable<string> AnsweringHosts => hosts.Keys;

        public HostPresence PresenceOf(string host) => hosts.ContainsKey(host) ? HostPresence.Up : HostPresence.Absent;

        public void ConnectTo(IActorRef claims)
        {
            keeper = claims;
            foreach (var (host, _) in hosts.Values)
                host.Tell(new UplinkConnected(claims));
        }

        public void TellHost(string host, object message)
        {
            switch (message)
            {
                case PlanTarget plan:
                    keeper.Tell(new TargetPlanned(plan.ClaimId, host, plan.Generation, [hosts[host].Device], []));
                    break;
                default:
                    hosts[host].Host.Tell(message);
                    break;
            }
        }

        public void TellControls(object message) => Tell(message);

        public void Tell(object message) => told.Writer.TryWrite(message);
    }

    /// <summary>Where the claim is; what it answers is told on.</summary>
    private sealed class Shard(Stage stage, TimeProvider time) : UntypedActor
    {
        private IActorRef claim = ActorRefs.Nobody;

        protected override void PreStart() => claim = Context.ActorOf(ClaimActor.Props(Claim, stage, time), Claim);

        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case TargetLoaded when stage.HoldsUpTheStop:
                    break;
                case IHostReport or IClaimMessage:
                    claim.Tell(message, Self);
                    break;
                default:
                    stage.Tell(message);
                    break;
            }
        }
    }
}
