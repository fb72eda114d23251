using Akka.Actor;
using Fabric.Migration.Fleet;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>A thousand hosts of 64 devices each, as one control node hears of them.</summary>
public sealed class LargeFleetTests : LoneNode
{
    private const int Hosts = 1000;
    private const int Devices = 64;

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
            fleet.Tell(last[host]);
        }

        var described = await fleet.Ask<FleetDescribed>(new DescribeFleet(), TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);

        // Records that hold arrays are equal when they are the same; nothing is copied within a node.
        Assert.Equal(last, described.Hosts.Select(static host => host.Inventory).OfType<HostInventory>());
    }

    private static HostInventory Inventory(int host, Random random) => new(
        $"host-{host:0000}", "http://127.0.0.1", "1.0", [.. Enumerable.Range(0, Devices).Select(slot => Device(slot, random.Next(2) == 0))]);

    private static DeviceEntry Device(int slot, bool free) => new(
        $"fab0:{1 + (slot / 8):x2}:00.{slot % 8}", "1b36:fab0", "accelerator-vf", Physical: false, "driver", free ? "closed" : "open", "Healthy", null, null, null,
        free ? null : $"claim-{slot}", null, slot, null, 0, [], null);
}
