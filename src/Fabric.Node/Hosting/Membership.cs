using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Cluster.Tools.Singleton;
using Akka.Configuration;
using Akka.DistributedData;
using Akka.Hosting;
using Akka.Hosting.Logging;
using Akka.Persistence.Sql;
using Akka.Remote;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Security;

namespace Fabric.Node.Hosting;

/// <summary>This node must not take part in this fabric, and trying again would not help.</summary>
internal sealed class RefusedException(string message) : Exception(message);

/// <summary>
/// One membership of the cluster, from joining to leaving or being put out: an actor system with remoting, and what runs in it. When it ends a
/// new one is begun; devices do not notice.
/// </summary>
internal sealed class Membership : IAsyncDisposable
{
    /// <summary>Longer than a killed node takes to be found unreachable.</summary>
    private static readonly TimeSpan NamesakeDeadline = TimeSpan.FromSeconds(12);

    private static readonly TimeSpan ViewInterval = TimeSpan.FromMilliseconds(20);

    private readonly IHost akka;

    private Membership(IHost akka, ActorSystem system)
    {
        this.akka = akka;
        System = system;
        Members = new FabricMembers(system);
    }

    public ActorSystem System { get; }

    public FabricMembers Members { get; }

    /// <summary>The shard region of claims, or its proxy; null until this node is up.</summary>
    public IActorRef? Claims { get; private set; }

    /// <summary>Reaches the fabric's drains, rebalances and breaker; null until this node is up.</summary>
    public IActorRef? Moves { get; private set; }

    /// <summary>Completes when the node left the cluster, or was put out of it.</summary>
    public Task Ended => System.WhenTerminated;

    /// <summary>Where other nodes reach this one.</summary>
    public Address Address => Cluster.Get(System).SelfAddress;

    public bool IsUp => Cluster.Get(System) is { IsTerminated: false } cluster && cluster.SelfMember.Status == MemberStatus.Up;

    public static async Task<Membership> BeginAsync(
        FabricSettings settings, string? sqlite, WireSetup wire, ILoggerFactory loggers, NodeCredentials? credentials = null)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Services.AddSingleton(loggers);
        builder.Services.AddAkka("fabric", akka =>
        {
            akka.AddSetup(wire);
            if (credentials is not null)
                akka.AddSetup(credentials.Remoting());
            akka.AddSetup(new LoggerFactorySetup(loggers));
            foreach (var hocon in ClusterHocon.For(settings, sqlite).Append(WireConfig.ClusterHocon).Append(WireConfig.NothingElseHocon))
                akka.AddHocon(ConfigurationFactory.ParseString(hocon), HoconAddMode.Prepend);

            // Complete before remoting listens: messages of sharding may come before sharding is started here.
            akka.AddHocon(ClusterSharding.DefaultConfig(), HoconAddMode.Append);
            akka.AddHocon(ClusterSingleton.DefaultConfig(), HoconAddMode.Append);
            akka.AddHocon(DistributedData.DefaultConfig(), HoconAddMode.Append);
            if (settings.IsControl)
                akka.AddHocon(SqlPersistence.DefaultConfiguration, HoconAddMode.Append);
        });
        var host = builder.Build();
        await host.StartAsync();
        return new Membership(host, host.Services.GetRequiredService<ActorSystem>());
    }

    /// <summary>Joins, and starts what this node's roles ask for.</summary>
    /// <exception cref="RefusedException">See <see cref="SoleWriter"/>; or another node has this one's name.</exception>
    public async Task JoinAsync(
        FabricSettings settings, MetControls met, HostSystem? host, string api, string version, TimeProvider time, CancellationToken cancellation)
    {
        var cluster = Cluster.Get(System);
        var up = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        cluster.RegisterOnMemberUp(up.SetResult);
        RestartWhenQuarantined();

        // With seeds, joining began with the actor system.
        if (settings.Cluster.Seeds.Length == 0)
            cluster.JoinSeedNodes([cluster.SelfAddress, .. met.Addresses]);
        met.Follow(System);

        var first = await Task.WhenAny(up.Task, Ended).WaitAsync(cancellation);
        if (first == Ended)
            return;

        // What the cluster shows of its members follows the event that completed `up`, and is asked below for who else is a control node.
        while (!IsUp)
        {
            if (Ended.IsCompleted)
                return;
            await Task.Delay(ViewInterval, time, cancellation);
        }

        await RefuseNamesakeAsync(time, cancellation);
        if (settings.IsControl)
        {
            if (SoleWriter.Refusal(cluster.SelfMember, Members.Controls) is { } refusal)
                throw new RefusedException(refusal);
            System.ActorOf(FleetActor.Props(time), FleetActor.Name);
            Claims = await ClaimSharding.StartAsync(System, time);
            MovesSingleton.Start(System, Claims, OptionsOf(settings.Fleet), time);
        }
        else
        {
            System.ActorOf(Props.Create(() => new ForsakenWatch()), "forsaken-watch");
            Claims = await ClaimSharding.StartProxyAsync(System);
        }

        Moves = MovesSingleton.StartProxy(System);
        if (host is not null)
        {
            var gateway = new HostGatewayOptions(settings.Node.Name, api, version, host.System, host.Devices, host.Attachments, time)
            {
                Labels = settings.Node.Labels,
                Serving = host.Serving,
                Binding = host.Binding,
            };
            System.ActorOf(HostGateway.Props(gateway, Claims), HostGateway.Name);
        }
    }

    /// <param name="settings">As <see cref="SettingsLoader"/> has let them through.</param>
    internal static MovesOptions OptionsOf(FleetSettings settings) => new(
        new MoveLimits(settings.Migrations, settings.OutgoingPerHost, settings.Attempts),
        new BreakerLimits(
            settings.Breaker.SharePercent / 100.0,
            Duration.TryParse(settings.Breaker.Window, out var window) ? window : throw new SettingsException($"'{settings.Breaker.Window}' is not a time."),
            settings.Breaker.Least));

    /// <summary>
    /// A name is how claims find their device, so two daemons must not have the same. An earlier life of this one, killed a moment ago, is
    /// given the time to be missed.
    /// </summary>
    private async Task RefuseNamesakeAsync(TimeProvider time, CancellationToken cancellation)
    {
        var began = time.GetTimestamp();
        while (Members.Namesake is { } other)
        {
            if (time.GetElapsedTime(began) > NamesakeDeadline)
                throw new RefusedException($"Another daemon of this fabric, at {other.Address.Host}:{other.Address.Port}, is named {Members.Self} too; set node.name to a name of its own.");
            await Task.Delay(TimeSpan.FromMilliseconds(250), time, cancellation);
        }
    }

    /// <summary>Leaves in good order.</summary>
    public async ValueTask DisposeAsync()
    {
        await CoordinatedShutdown.Get(System).Run(CoordinatedShutdown.ActorSystemTerminateReason.Instance);
        await akka.StopAsync();
        akka.Dispose();
    }

    /// <summary>A node that others have given up is not let back in under the same life: it begins a new one.</summary>
    private void RestartWhenQuarantined() => System.ActorOf(Props.Create(() => new QuarantineWatch()), "quarantine-watch");

    private sealed class QuarantineWatch : UntypedActor
    {
        protected override void PreStart() => Context.System.EventStream.Subscribe(Self, typeof(ThisActorSystemQuarantinedEvent));

        protected override void OnReceive(object message)
        {
            if (message is ThisActorSystemQuarantinedEvent)
                _ = CoordinatedShutdown.Get(Context.System).Run(CoordinatedShutdown.ClusterDowningReason.Instance);
        }
    }
}
