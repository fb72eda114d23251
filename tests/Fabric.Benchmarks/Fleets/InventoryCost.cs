using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;

namespace Fabric.Benchmarks.Fleets;

/// <summary>What it costs a control node to take an inventory of each host, by the wire's serializer both ways, and to describe the fleet.</summary>
/// <param name="Bytes">Of one inventory on the wire.</param>
/// <param name="TakeUs">CPU time of one inventory, writing and reading it included, microseconds.</param>
/// <param name="DescribeMs">CPU time of one description, milliseconds.</param>
/// <param name="KeptBytes">Of one host, alive.</param>
/// <param name="Answer">How the description goes over the wire: bytes, or that it is refused.</param>
internal sealed record InventoryCost(int Bytes, double TakeUs, double DescribeMs, long KeptBytes, string Answer)
{
    private const int Describes = 10;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static async Task<InventoryCost> MeasureAsync(SampleFleet sample, int devices, int rounds)
    {
        using var system = Node();
        var wire = system.Serialization.FindSerializerForType(typeof(HostInventory));
        var fleet = system.ActorOf(FleetActor.Props(TimeProvider.System), FleetActor.Name);
        var told = sample.Names.Select((name, host) => SampleFleet.Inventory(name, sample.Holders(host))).ToArray();
        await DescribeAsync(fleet);
        var before = Cost.Alive();
        Round();
        await DescribeAsync(fleet);
        var kept = Cost.Alive() - before;

        var cost = Cost.Begin();
        for (var round = 0; round < rounds; round++)
        {
            Round();
            // Handed in at the pace at which it is taken.
            await fleet.Ask<ActorIdentity>(new Identify(round), Patience);
        }

        var take = cost.CpuMs * 1000 / (rounds * told.Length);
        cost = Cost.Begin();
        FleetDescribed described = null!;
        for (var i = 0; i < Describes; i++)
            described = await DescribeAsync(fleet);
        var describe = cost.CpuMs / Describes;
        // Its own node is a member, and a host is not.
        if (described.Hosts.Count(host => host.Inventory?.Devices.Length == devices) != told.Length)
            throw new InvalidOperationException("The fleet does not show what the hosts told.");
        var result = new InventoryCost(wire.ToBinary(told[0]).Length, take, describe, kept / told.Length, OnTheWire(wire, described));
        await system.Terminate();
        return result;

        void Round()
        {
            foreach (var inventory in told)
                fleet.Tell(wire.FromBinary<HostInventory>(wire.ToBinary(inventory)));
        }
    }

    private static Task<FleetDescribed> DescribeAsync(IActorRef fleet) => fleet.Ask<FleetDescribed>(new DescribeFleet(), Patience);

    private static string OnTheWire(Akka.Serialization.Serializer wire, FleetDescribed described)
    {
        try
        {
            return FormattableString.Invariant($"{wire.ToBinary(described).Length / 1024.0:F0} KiB");
        }
        catch (WireRefusedException)
        {
            return "REFUSED";
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
