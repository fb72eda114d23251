using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Fleet;
using Fabric.Pci;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>A host's gateway and a control node's fleet, with a link between them that loses what it will.</summary>
public sealed class InventoryConvergenceTests : LoneNode
{
    private const int Functions = 1500;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Loss loss = new();
    private IActorRef fleet = ActorRefs.Nobody;
    private IActorRef link = ActorRefs.Nobody;
    private IActorRef gateway = ActorRefs.Nobody;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        fleet = Sys.ActorOf(FleetActor.Props(new FakeTimeProvider()), "fleet-behind-the-link");
        link = Sys.ActorOf(Props.Create(() => new Link(fleet, loss)), FleetActor.Name);
        // Nobody answers it: the devices that it knows are those that a test tells it.
        var devices = CreateTestProbe();
        gateway = Sys.ActorOf(HostGateway.Props(
            new HostGatewayOptions("alpha", "http://alpha", "1.0", Sys, devices, devices, new FakeTimeProvider()), devices), HostGateway.Name);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(20261126)]
    public async Task Whatever_is_lost_the_fleet_shows_what_the_host_has_as_soon_as_it_hears_from_it_again(int seed)
    {
        var random = new Random(seed);
        loss.Of = () => random.Next(3) == 0;
        for (var change = 0; change < 20; change++)
            await Tell(change);
        loss.Of = static () => false;

        // The host says once more that nothing has changed.
        await Tell(19);

        Assert.Equal(["19"], await Shown());
    }

    [Fact]
    public async Task A_control_node_that_is_new_hears_all_of_a_host_in_which_nothing_changes()
    {
        loss.Of = static () => true;
        await Tell(1);
        loss.Of = static () => false;

        await Tell(1);

        Assert.Equal(["1"], await Shown());
    }

    [Fact]
    public async Task A_telling_of_which_a_portion_is_lost_is_not_shown_until_the_rest_has_come()
    {
        await Tell(1);
        var portions = 0;
        loss.Of = () => ++portions == 2;
        await Tell(2);
        Assert.Equal(["1"], await Shown());

        loss.Of = static () => false;
        await Tell(2);
        Assert.Equal(["2"], await Shown());
    }

    /// <summary>Returns when all that follows from it has come, or was lost.</summary>
    private async Task Tell(int change)
    {
        gateway.Tell(new DeviceList([.. Enumerable.Range(0, Functions).Select(slot => Status(slot, change))]));
        // To the fleet by the link, back to the gateway with its question, and to the fleet again with the answer.
        foreach (var passed in (IActorRef[])[gateway, link, fleet, link, gateway, link, fleet])
            await Passed(passed);
    }

    private static async Task Passed(IActorRef actor) => await actor.Ask<ActorIdentity>(new Identify(null), Patience, TestContext.Current.CancellationToken);

    /// <summary>The changes of which something is shown.</summary>
    private async Task<IEnumerable<string?>> Shown()
    {
        var described = await fleet.Ask<FleetDescribed>(new DescribeFleet(), Patience, TestContext.Current.CancellationToken);
        return Assert.Single(described.Hosts).Inventory!.Devices.Select(static device => device.Reason).Distinct();
    }

    private static DeviceStatus Status(int slot, int change) => new(
        PciAddress.Parse($"fab0:{slot / 256:x2}:{slot / 8 % 32:x2}.{slot % 8}"), new PciIds(0x1d0f, 0xfab1), "accelerator", Physical: false, "accelerator-vf",
        DeviceState.Closed, DeviceHealth.Healthy, Migration: null, Holder: null, StateBytes: 4096, IommuGroup: null, PhysicalFunction: null, ["flr"])
    {
        Reason = $"{change}",
    };

    private sealed class Loss
    {
        public Func<bool> Of { get; set; } = static () => false;
    }

    /// <summary>Between the two in both directions: the fleet answers to it.</summary>
    private sealed class Link(IActorRef fleet, Loss loss) : UntypedActor
    {
        private IActorRef host = ActorRefs.Nobody;

        protected override void OnReceive(object message)
        {
            var back = Sender.Equals(fleet);
            if (!back)
                host = Sender;
            if (!loss.Of())
                (back ? host : fleet).Tell(message, Self);
        }
    }
}
