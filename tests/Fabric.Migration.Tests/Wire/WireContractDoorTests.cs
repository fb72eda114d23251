namespace Fabric.Migration.Tests.Wire;

public sealed class WireContractDoorTests : WireNodeTests
{
    [Fact]
    public async Task A_node_of_the_same_contract_joins()
    {
        var first = await FirstOf(Samples.Contract);
        var second = Start(Samples.Contract);

        second.Cluster.JoinSeedNodes([first.Address]);

        await second.Up;
        Assert.Equal(2, second.Cluster.State.Members.Count);
    }

    [Fact]
    public async Task A_node_of_another_contract_is_told_why_it_does_not_join()
    {
        var first = await FirstOf(Samples.Contract);
        var second = Start(Samples.OtherContract);

        second.Cluster.JoinSeedNodes([first.Address]);

        await second.Warning(
            $"This node speaks {Samples.OtherContract.Hash} and the cluster speaks {Samples.Contract.Hash}, so it does not join",
            "Run the same build");
    }

    [Fact]
    public async Task The_cluster_says_whom_it_did_not_let_in()
    {
        var first = await FirstOf(Samples.Contract);
        var second = Start(Samples.OtherContract);

        second.Cluster.JoinSeedNodes([first.Address]);

        await first.Warning($"A node that speaks {Samples.OtherContract.Hash} asks to join; this cluster speaks {Samples.Contract.Hash}");
    }

    [Fact]
    public async Task A_node_of_another_contract_leaves_the_cluster_as_it_was()
    {
        var first = await FirstOf(Samples.Contract);
        var second = Start(Samples.OtherContract);

        second.Cluster.JoinSeedNodes([first.Address]);
        await second.Warning("does not join");
        await second.Warning("does not join"); // it asks again

        Assert.Equal([first.Address], first.Cluster.State.Members.Select(m => m.Address));
        Assert.Empty(second.Cluster.State.Members);
        Assert.True(first.Refusals == 0 && second.Refusals >= 2, $"{first.Refusals} and {second.Refusals} refusals");
    }

    [Fact]
    public async Task A_node_that_joins_without_asking_is_not_let_in()
    {
        var first = await FirstOf(Samples.Contract);
        var second = Start(Samples.OtherContract);

        second.Cluster.Join(first.Address);
        await first.Warning($"A node that speaks {Samples.OtherContract.Hash} tried to join this cluster");

        Assert.Equal([first.Address], first.Cluster.State.Members.Select(m => m.Address));
    }

    [Fact]
    public async Task A_node_without_a_wire_contract_is_not_let_in()
    {
        var first = await FirstOf(Samples.Contract);
        var stock = Start(contract: null);

        stock.Cluster.JoinSeedNodes([first.Address]);
        await first.Warning("A node that speaks no wire contract tried to join this cluster");

        Assert.Equal([first.Address], first.Cluster.State.Members.Select(m => m.Address));
    }

    [Fact]
    public async Task A_refused_node_joins_once_the_cluster_speaks_its_contract()
    {
        var port = FreePort();
        var first = await FirstOf(Samples.Contract, port);
        var second = Start(Samples.OtherContract);
        second.Cluster.JoinSeedNodes([first.Address]);
        await second.Warning("does not join");

        await Stop(first);
        await FirstOf(Samples.OtherContract, port);

        await second.Up;
        Assert.Equal(2, second.Cluster.State.Members.Count);
    }

    [Fact]
    public async Task A_refused_first_seed_forms_a_cluster_only_once_the_other_is_gone()
    {
        var port = FreePort();
        var other = await FirstOf(Samples.Contract);
        var refused = Start(Samples.OtherContract, port, seeds: [AddressOf(port), other.Address]);

        // A first seed joins itself one seed-node-timeout after it began to ask; these are several timeouts' worth of answers.
        for (var answers = 0; answers < 6; answers++)
            await refused.Warning("does not join");
        Assert.Empty(refused.Cluster.State.Members);

        await Stop(other);
        await refused.Up;
    }
}
