namespace Fabric.Cli.Tests.Commands;

public sealed class EventTests
{
    private const string Two =
        """
        : hello

        id: 1
        event: claim-placed
        data: {"id":1,"time":"2026-03-01T12:00:00Z","kind":"claim-placed","subject":"db-1","node":"control","message":"on host-a"}

        id: 2
        event: host-down
        data: {"id":2,"time":"2026-03-01T12:00:01Z","kind":"host-down","subject":"host-b",
        data: "node":"control","message":"unreachable"}


        """;

    [Fact]
    public async Task Json_is_an_event_a_line()
    {
        await using var server = new FakeServer().OnText("GET /api/v1/events", 200, "text/event-stream", Two);

        var result = await Cli.AtAsync(server, "events", "-o", "json");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(2, result.Lines.Count);
        Assert.Equal(
            """{"id":1,"time":"2026-03-01T12:00:00Z","kind":"claim-placed","subject":"db-1","node":"control","message":"on host-a"}""",
            result.Lines[0]);
    }

    [Fact]
    public async Task People_see_what_happened_to_what_and_where()
    {
        await using var server = new FakeServer().OnText("GET /api/v1/events", 200, "text/event-stream", Two);

        var result = await Cli.AtAsync(server, "events");

        Assert.EndsWith("  control  host-down  host-b  unreachable", result.Lines[1]);
    }

    [Fact]
    public async Task Without_follow_a_silent_stream_is_the_end()
    {
        var never = new TaskCompletionSource();
        await using var server = new FakeServer().OnStream("GET /api/v1/events", Two, never.Task);

        var result = await Cli.AtAsync(server, "events");
        never.SetResult();

        Assert.Equal((0, 2), (result.ExitCode, result.Lines.Count));
    }

    [Fact]
    public async Task Following_a_daemon_that_stops_fails_and_says_so()
    {
        await using var server = new FakeServer().OnText("GET /api/v1/events", 200, "text/event-stream", Two);

        var result = await Cli.AtAsync(server, "events", "--follow");

        Assert.Equal((1, 2), (result.ExitCode, result.Lines.Count));
        Assert.StartsWith($"The event stream of {server.Url} ended", result.Error);
    }
}
