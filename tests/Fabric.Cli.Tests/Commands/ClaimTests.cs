using System.Text.Json;
using Fabric.Node.Api;

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

    [Theory]
    [InlineData(
        "--device accelerator-vf --device mlx5@0000:3B:00.2 --host host-a",
        """{"id":"db-1","host":"host-a","devices":[{"model":"accelerator-vf"},{"model":"mlx5","device":"0000:3b:00.2"}]}""")]
    [InlineData(
        "--model mlx5 --device 0000:3b:00.2 --device 0000:3b:00.3 --host host-a",
        """{"id":"db-1","host":"host-a","devices":[{"model":"mlx5","device":"0000:3b:00.2"},{"model":"mlx5","device":"0000:3b:00.3"}]}""")]
    [InlineData("--device mlx5@0000:3b:00.2 --host host-a", """{"id":"db-1","model":"mlx5","host":"host-a","device":"0000:3b:00.2"}""")]
    [InlineData("--device mlx5", """{"id":"db-1","model":"mlx5"}""")]
    public async Task Create_asks_for_each_device_that_is_named(string options, string body)
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim("placing"), 202);

        await Cli.AtAsync(server, ["claim", "create", "db-1", .. options.Split(' ')]);

        Assert.Equal($"POST /api/v1/claims {body}", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Show_lists_each_of_several_devices()
    {
        var claim = Sample.Claim() with { Devices = [new ClaimDeviceResource("accelerator-vf", "0000:3b:00.2"), new ClaimDeviceResource("mlx5", "0000:3c:00.1")] };
        await using var server = new FakeServer().On("GET /api/v1/claims/db-1", claim);

        var result = await Cli.AtAsync(server, "claim", "show", "db-1");

        Assert.Contains($"{claim.Host}/0000:3b:00.2", result.Out, StringComparison.Ordinal);
        Assert.Contains($"{claim.Host}/0000:3c:00.1", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Create_sends_what_becomes_of_the_claim_when_its_device_fails()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim("placing"), 202);

        await Cli.AtAsync(server, "claim", "create", "db-1", "--on-device-failure", "restart");

        Assert.Equal("""POST /api/v1/claims {"id":"db-1","on_device_failure":"restart"}""", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Create_sends_what_becomes_of_the_claim_when_its_host_is_lost()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim("placing"), 202);

        await Cli.AtAsync(server, "claim", "create", "db-1", "--on-host-loss", "restart", "--lease-seconds", "20");

        Assert.Equal("""POST /api/v1/claims {"id":"db-1","on_host_loss":"restart","lease_seconds":20}""", Assert.Single(server.Requests));
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
