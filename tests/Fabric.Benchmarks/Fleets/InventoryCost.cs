using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;

namespace Fabric.Benchmarks.Fleets;

/// <summary>
/// What it costs a control node to take an inventory of each host, to hear that nothing changed, and to be read from another node; everything by the
/// wire's serializer, both ways.
/// </summary>
/// <param name="Bytes">Of one inventory on the wire.</param>
/// <param name="TakeUs">CPU time of one inventory, microseconds.</param>
/// <param name="UnchangedUs">CPU time of hearing from one host that nothing changed, microseconds.</param>
/// <param name="DescribeMs">CPU time of one description, which stays in the node, milliseconds.</param>
/// <param name="ReadMs">CPU time of reading all hosts from another node, milliseconds.</param>
/// <param name="Messages">Of such a reading, both ways.</param>
/// <param name="LargestBytes">The largest of them.</param>
/// <param name="KeptBytes">Of one host, alive.</param>
internal sealed record InventoryCost(
    int Bytes, double TakeUs, double UnchangedUs, double DescribeMs, double ReadMs, int Messages, int LargestBytes, long KeptBytes)
{
    private const int Describes = 10;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static async Task<InventoryCost> MeasureAsync(SampleFleet sample, int devices, int rounds)
    {
        using var system = Node();
        var wire = system.Serialization.FindSerializerForType(typeof(InventoryPortion));
        var fleet = system.ActorOf(FleetActor.Props(TimeProvider.System), FleetActor.Name);
        var told = sample.Names.Select((name, host) => SampleFleet.Inventory(name, sample.Holders(host))).ToArray();
        var life = Guid.NewGuid();
        var version = 0L;
        var (messages, largest) = (0, 0);
        await DescribeAsync(fleet);
        var before = Cost.Alive();
        Tell();
        await DescribeAsync(fleet);
        var kept = Cost.Alive() - before;

        var take = await EachRoundAsync(Tell);
        var unchanged = await EachRoundAsync(() =>
        {
            foreach (var name in sample.Names)
                fleet.Tell(Cross(new InventoryUnchanged(name, life, version)));
        });

        var cost = Cost.Begin();
        FleetDescribed described = null!;
        for (var i = 0; i < Describes; i++)
            described = await DescribeAsync(fleet);
        var describe = cost.CpuMs / Describes;

        Func<object, object> crossing = Cross;
        var link = system.ActorOf(Props.Create(() => new Link(fleet, crossing)));
        var reader = new FleetReader(link, Patience, 1);
        cost = Cost.Begin();
        FleetDescribed read = null!;
        for (var i = 0; i < Describes; i++)
            read = await reader.ReadAsync(FleetQuestion.AllHosts);
        var reading = cost.CpuMs / Describes;

        // Its own node is a member, and a host is not.
        if (((FleetDescribed[])[described, read]).Any(shown => shown.Hosts.Count(host => host.Inventory?.Devices.Length == devices) != told.Length))
            throw new InvalidOperationException("The fleet does not show what the hosts told.");
        var bytes = InventoryPortion.Of(told[0], life, 1).Sum(portion => wire.ToBinary(portion).Length);
        await system.Terminate();
        return new InventoryCost(bytes, take, unchanged, describe, reading, messages / Describes, largest, kept / told.Length);

        void Tell()
        {
            version++;
            foreach (var portion in told.SelectMany(inventory => InventoryPortion.Of(inventory, life, version)))
                fleet.Tell(Cross(portion));
        }

        async Task<double> EachRoundAsync(Action round)
        {
            var cost = Cost.Begin();
            for (var i = 0; i < rounds; i++)
            {
                round();
                // Handed in at the pace at which it is taken.
                await fleet.Ask<ActorIdentity>(new Identify(i), Patience);
            }

            return cost.CpuMs * 1000 / (rounds * told.Length);
        }

        object Cross(object message)
        {
            var written = wire.ToBinary(message);
            (messages, largest) = message is ReadHosts or HostsRead ? (messages + 1, Math.Max(largest, written.Length)) : (messages, largest);
            return wire.FromBinary(written, message.GetType());
        }
    }

    private static Task<FleetDescribed> DescribeAsync(IActorRef fleet) => fleet.Ask<FleetDescribed>(new DescribeFleet(), Patience);

    /// <summary>Stands where the connection is between a reader and a control node.</summary>
    private sealed class Link(IActorRef fleet, Func<object, object> cross) : UntypedActor
    {
        private IActorRef reader = ActorRefs.Nobody;

        protected override void OnReceive(object message)
        {
            if (message is ReadHosts)
            {
                reader = Sender;
                fleet.Tell(cross(message), Self);
            }
            else
            {
                reader.Tell(cross(message));
            }
        }
    }

    private static ActorSystem Node() => ActorSystem.Create("fabric", ActorSystemSetup.Create(
        BootstrapSetup.Create().WithConfig(ConfigurationFactory.ParseString(WireConfig.Hocon + """
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              log-dead-letters = off
              actor.provider = cluster
              remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
              coordinated-shutdown.run-by-actor-system-terminate = off
            }
            """)),
        new WireSetup(WireContract.From(typeof(IWireMessage).Assembly))));
}
