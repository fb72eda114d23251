using System.Text.Json;

namespace Fabric.Cli.Tests.Commands;

public sealed class MigrateTests
{
    private const string Start = "POST /api/v1/claims/db-1/migrations";
    private const string Get = "GET /api/v1/migrations/db-1.1";

    [Fact]
    public async Task Limits_are_sent_as_given()
    {
        await using var server = new FakeServer().On(Start, Sample.Migration("reserve"), 202);

        await Cli.AtAsync(
            server, "migrate", "db-1", "--to", "host-b", "--downtime-ms", "100", "--timeout-s", "60", "--bandwidth-mib", "0");

        Assert.Equal(
            Start + """ {"to":"host-b","downtime_ms":100,"timeout_s":60,"bandwidth_mib_s":0}""", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Watching_ends_with_0_when_it_was_committed()
    {
        await using var server = Moving(Sample.Migration("done", "committed"));

        var result = await Cli.AtAsync(server, "migrate", "db-1", "--to", "host-b", "--watch");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Watching_into_a_pipe_prints_a_line_for_each_phase()
    {
        await using var server = Moving(Sample.Migration("done", "committed"));

        var result = await Cli.AtAsync(server, "migrate", "db-1", "--to", "host-b", "--watch");

        Assert.Equal(
            ["reserve", "pre-copy", "stop-copy", "committed"],
            result.Lines
                .TakeWhile(line => line.StartsWith("db-1.1 ", StringComparison.Ordinal))
                .Select(line => line.Split(": ")[1].Split([' ', ','])[0]));
    }

    [Fact]
    public async Task Watching_as_json_leaves_standard_output_to_the_resource()
    {
        await using var server = Moving(Sample.Migration("done", "committed"));

        var result = await Cli.AtAsync(server, "migrate", "db-1", "--to", "host-b", "--watch", "-o", "json");

        using var document = JsonDocument.Parse(result.Out);
        Assert.Equal("committed", document.RootElement.GetProperty("outcome").GetString());
    }

    [Theory]
    [InlineData("rolled-back", "host-b died")]
    [InlineData("cancelled", "asked by an operator")]
    public async Task Watching_ends_with_1_and_the_reason_otherwise(string outcome, string reason)
    {
        await using var server = Moving(Sample.Migration("done", outcome, reason));

        var result = await Cli.AtAsync(server, "migrate", "db-1", "--to", "host-b", "--watch");

        Assert.Equal(
            (1, $"Migration db-1.1 to host-b ended {outcome}: {reason}. The claim is still on host-a.\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Ctrl_C_while_watching_says_that_the_migration_goes_on()
    {
        await using var server = new FakeServer().On(Start, Sample.Migration(), 202).On(Get, Sample.Migration());
        using var termination = new Termination();

        var running = Cli.RunAsync(
            new Dictionary<string, string>(), termination, "migrate", "db-1", "--to", "host-b", "--watch", "--server", server.Url);
        while (!server.Requests.Contains(Get))
            await Task.Yield();
        termination.Interrupt();
        var result = await running;

        Assert.Equal(130, result.ExitCode);
        Assert.StartsWith("Migration db-1.1 goes on.", result.Error);
    }

    [Fact]
    public async Task Cancel_prints_what_became_of_it()
    {
        await using var server = new FakeServer().On("POST /api/v1/migrations/db-1.1/cancel", Sample.Migration("rollback"), 202);

        var result = await Cli.AtAsync(server, "migration", "cancel", "db-1.1");

        Assert.Contains("phase         rollback", result.Lines);
    }

    [Fact]
    public async Task Show_splits_the_time_into_phases()
    {
        await using var server = new FakeServer().On(Get, Sample.Migration("done", "committed"));

        var result = await Cli.AtAsync(server, "migration", "show", "db-1.1");

        Assert.Contains("downtime      41.3 ms (limit 300 ms)", result.Lines);
        Assert.Contains("stop-copy   4.10 s  41.3 ms  yes", result.Lines);
    }

    private static FakeServer Moving(Node.Api.MigrationResource end) => new FakeServer()
        .On(Start, Sample.Migration("reserve", bytes: 0), 202)
        .On(Get, Sample.Migration())
        .On(Get, Sample.Migration("stop-copy"))
        .On(Get, end);
}
