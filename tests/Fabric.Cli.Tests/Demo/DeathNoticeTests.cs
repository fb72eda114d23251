using Fabric.Cli.Demo;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Demo;

public sealed class DeathNoticeTests
{
    [Fact]
    public async Task A_death_is_noticed_and_then_the_dead_is_put_out()
    {
        List<string> reached = [];

        await DeathNotice.FollowAsync(
            Told(("node.down", "host-a"), ("node.unreachable", "control-1"), ("node.unreachable", "host-b"), ("node.down", "control-1")),
            "control-1",
            Sample.Noon,
            reached.Add);

        Assert.Equal([DeathNotice.Noticed, DeathNotice.PutOut], reached);
    }

    [Fact]
    public async Task A_node_that_was_missed_before_it_was_killed_is_not_noticed_yet()
    {
        List<string> reached = [];
        var early = new EventResource(1, Sample.Noon.AddSeconds(-5), "node.unreachable", "control-1", "control-2", "");
        var gone = new EventResource(2, Sample.Noon.AddSeconds(5), "node.down", "control-1", "control-2", "");

        await DeathNotice.FollowAsync(new[] { early, gone }.ToAsyncEnumerable(), "control-1", Sample.Noon, reached.Add);

        Assert.Equal([DeathNotice.PutOut], reached);
    }

    [Fact]
    public async Task Nothing_is_heard_after_the_dead_was_put_out()
    {
        List<string> reached = [];

        await DeathNotice.FollowAsync(Told(("node.down", "control-1"), ("node.unreachable", "control-1")), "control-1", Sample.Noon, reached.Add);

        Assert.Equal([DeathNotice.PutOut], reached);
    }

    [Fact]
    public async Task Events_that_end_before_are_a_failure()
    {
        var failure = await Assert.ThrowsAsync<CommandFailure>(
            () => DeathNotice.FollowAsync(Told(("node.unreachable", "control-1")), "control-1", Sample.Noon, _ => { }));

        Assert.Equal("The events ended before they told that control-1 was put out of the fabric.", failure.Message);
    }

    private static IAsyncEnumerable<EventResource> Told(params (string Kind, string Subject)[] events) =>
        events.Select((told, index) => new EventResource(index + 1, Sample.Noon, told.Kind, told.Subject, "control-2", "")).ToAsyncEnumerable();
}
