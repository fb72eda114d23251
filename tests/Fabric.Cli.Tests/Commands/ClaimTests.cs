using System.Text.Json;

namespace Fabric.Cli.Tests.Commands;

public sealed class ClaimTests
{
    [Fact]
    public async Task Create_sends_only_what_was_asked_for()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim("placing"), 202);

        await Cli.AtAsync(
            server, "claim", "create", "db-1", "--host", "host-a", "--device", "0000:3b:00.2", "--memory-mib", "32");

        Assert.Equal(
            """POST /api/v1/claims {"id":"db-1","host":"host-a","device":"0000:3b:00.2","memory_mib":32}""",
            Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Create_without_wait_returns_what_was_accepted()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim("placing"), 202);

        var result = await Cli.AtAsync(server, "claim", "create", "db-1", "-o", "json");

        Assert.Equal((0, "placing"), (result.ExitCode, Phase(result)));
    }

    [Fact]
    public async Task Create_with_wait_asks_until_the_claim_runs_and_prints_that()
    {
        await using var server = new FakeServer()
            .On("POST /api/v1/claims", Sample.Claim("placing"), 202)
            .On("GET /api/v1/claims/db-1", Sample.Claim("placing"))
            .On("GET /api/v1/claims/db-1", Sample.Claim("running"));

        var result = await Cli.AtAsync(server, "claim", "create", "db-1", "--wait", "-o", "json");

        Assert.Equal((0, "running"), (result.ExitCode, Phase(result)));
    }

    [Fact]
    public async Task Create_with_wait_rides_out_a_control_node_that_is_away()
    {
        await using var server = new FakeServer()
            .On("POST /api/v1/claims", Sample.Claim("placing"), 202)
            .On("GET /api/v1/claims/db-1", Sample.Problem(503, Node.Api.ProblemCode.NotJoined, "No control node is reachable."))
            .On("GET /api/v1/claims/db-1", Sample.Claim("running"));

        var result = await Cli.AtAsync(server, "claim", "create", "db-1", "--wait");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Create_with_wait_fails_with_the_claim()
    {
        await using var server = new FakeServer()
            .On("POST /api/v1/claims", Sample.Claim("placing"), 202)
            .On("GET /api/v1/claims/db-1", Sample.Claim("failed", "host-a is gone"));

        var result = await Cli.AtAsync(server, "claim", "create", "db-1", "--wait");

        Assert.Equal((1, "Claim db-1 is failed and does not run: host-a is gone.\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Release_with_wait_asks_until_the_device_is_free()
    {
        await using var server = new FakeServer()
            .On("DELETE /api/v1/claims/db-1", Sample.Claim("releasing"), 202)
            .On("GET /api/v1/claims/db-1", Sample.Claim("releasing"))
            .On("GET /api/v1/claims/db-1", Sample.Claim("released"));

        var result = await Cli.AtAsync(server, "claim", "release", "db-1", "--wait", "-o", "json");

        Assert.Equal((0, "released"), (result.ExitCode, Phase(result)));
    }

    [Fact]
    public async Task Show_has_the_workload_and_the_migrations()
    {
        await using var server = new FakeServer().On(
            "GET /api/v1/claims/db-1", Sample.Claim() with { Migrations = [Sample.Migration("done", "committed")] });

        var result = await Cli.AtAsync(server, "claim", "show", "db-1");

        Assert.Contains("steps        123,456", result.Lines);
        Assert.StartsWith("db-1.1     host-a  host-b  committed  4.20 s", result.Lines[^1]);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(2, 1)]
    public async Task Verify_fails_where_anything_is_damaged(long damaged, int exitCode)
    {
        await using var server = new FakeServer().On(
            "POST /api/v1/claims/db-1/verify", new Node.Api.VerificationResource(1000, 512, 64, damaged));

        var result = await Cli.AtAsync(server, "claim", "verify", "db-1");

        Assert.Equal(exitCode, result.ExitCode);
    }

    private static string? Phase(CliResult result)
    {
        using var document = JsonDocument.Parse(result.Out);
        return document.RootElement.GetProperty("phase").GetString();
    }
}
