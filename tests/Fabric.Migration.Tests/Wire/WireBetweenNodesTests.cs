using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Configuration;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

public sealed class WireBetweenNodesTests : WireNodeTests
{
    [Fact]
    public async Task A_message_arrives_as_it_went()
    {
        var receiver = Start(Samples.Contract);
        var received = receiver.Record();
        var message = WireSample.Full(typeof(Arrays), 1);

        Start(Samples.Contract).Tell(receiver, message);

        Assert.Null(WireSample.Difference(message, await received.ReadAsync(Patience)));
    }

    [Fact]
    public async Task A_message_of_another_contract_is_dropped_and_the_next_good_one_arrives()
    {
        var receiver = Start(Samples.Contract);
        var received = receiver.Record();

        Start(Samples.OtherContract).Tell(receiver, new Simple("stranger", 1, 1));
        await receiver.Warning($"Its sender does not speak this node's wire contract, {Samples.Contract.Hash}");
        Start(Samples.Contract).Tell(receiver, new Simple("friend", 1, 1));

        Assert.Equal(new Simple("friend", 1, 1), await received.ReadAsync(Patience));
        Assert.Equal(1, receiver.Refusals);
    }

    [Fact]
    public async Task With_nothing_else_a_type_that_nobody_listed_is_not_sent_and_the_next_good_one_arrives()
    {
        var receiver = Start(Samples.Contract);
        var received = receiver.Record();
        var sender = Start(Samples.Contract, hocon: WireConfig.NothingElseHocon);

        sender.Tell(receiver, new NotAMessage("n"));
        await sender.Warning("NotAMessage was not sent", "make it an IWireMessage");
        sender.Tell(receiver, new Simple("friend", 1, 1));

        Assert.Equal(new Simple("friend", 1, 1), await received.ReadAsync(Patience));
    }

    [Fact]
    public async Task With_nothing_else_JSON_is_not_read_and_the_next_good_message_arrives()
    {
        var receiver = Start(Samples.Contract, hocon: WireConfig.NothingElseHocon);
        var received = receiver.Record();
        var sender = Start(Samples.Contract);

        sender.Tell(receiver, new NotAMessage("n"));
        await receiver.Warning("It is JSON");
        sender.Tell(receiver, new Simple("friend", 1, 1));

        Assert.Equal(new Simple("friend", 1, 1), await received.ReadAsync(Patience));
    }

    [Fact]
    public async Task With_nothing_else_sharding_works_and_nothing_is_refused()
    {
        var first = await FirstOf(Samples.Contract, hocon: ShardingHocon);
        var second = Start(Samples.Contract, hocon: ShardingHocon);
        second.Cluster.JoinSeedNodes([first.Address]);
        await second.Up;
        var regions = new[] { Region(first), Region(second) };

        // Enough shards that both nodes hold some, so that messages and answers cross.
        for (var i = 0; i < 40; i++)
        {
            var sent = new Simple($"entity-{i}", (ulong)i, 1);
            Assert.Equal(sent, await regions[i % 2].Ask<Simple>(sent, Patience));
        }

        Assert.Equal(0, first.Refusals + second.Refusals);
    }

    [Fact]
    public void A_system_without_a_wire_setup_does_not_start()
    {
        var config = ConfigurationFactory.ParseString(WireConfig.Hocon);

        var thrown = Record.Exception(() => ActorSystem.Create("bare", config));

        Assert.Contains("add a WireSetup", thrown?.ToString(), StringComparison.Ordinal);
    }

    // LMDB does not work with this set of packages; nothing here needs to outlive the node.
    private static string ShardingHocon => WireConfig.NothingElseHocon + """
        akka.cluster.sharding.state-store-mode = ddata
        akka.cluster.sharding.distributed-data.durable.keys = []
        akka.cluster.sharding.rebalance-interval = 1s
        """;

    private static IActorRef Region(Node node) => ClusterSharding.Get(node.System).Start(
        "echo",
        _ => Props.Create(() => new Echo()),
        ClusterShardingSettings.Create(node.System),
        HashCodeMessageExtractor.Create(20, m => (m as Simple)?.Id));

    private sealed class Echo : UntypedActor
    {
        protected override void OnReceive(object message) => Sender.Tell(message);
    }
}
