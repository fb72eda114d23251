using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary>Drains, rebalances, the breaker, and plans of anything.</summary>
public sealed class FleetTests
{
    private const string Host = "GET /api/v1/hosts/host-a";
    private const string Drain = "POST /api/v1/hosts/host-a/drain";

    [Fact]
    public async Task A_drain_is_asked_for_with_its_limit()
    {
        await using var server = new FakeServer().On(Drain, Draining());

        await Cli.AtAsync(server, "host", "drain", "host-a", "--downtime-ms", "100");

        Assert.Equal(Drain + """ {"downtime_ms":100}""", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Waiting_for_a_drain_ends_with_0_when_nothing_is_left()
    {
        await using var server = new FakeServer().On(Drain, Draining()).On(Host, Drained("draining")).On(Host, Drained("drained"));

        var result = await Cli.AtAsync(server, "host", "drain", "host-a", "--wait");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Waiting_for_a_drain_ends_with_1_when_what_is_left_cannot_move()
    {
        await using var server = new FakeServer().On(Drain, Draining()).On(Host, Drained("blocked"));

        var result = await Cli.AtAsync(server, "host", "drain", "host-a", "--wait");

        Assert.Equal(1, result.ExitCode);
        Assert.StartsWith("Host host-a is not empty: what is left on it cannot move", result.Error, StringComparison.Ordinal);
        Assert.Contains("there is no host to go to", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_host_is_listed_with_its_labels_and_its_drain()
    {
        await using var server = new FakeServer().On("GET /api/v1/hosts", Sample.List(Drained("draining") with { Labels = ["zone=a"] }, Sample.Host("host-b")));

        var result = await Cli.AtAsync(server, "host", "list");

        Assert.EndsWith("FREE  LABELS  DRAIN", result.Lines[0], StringComparison.Ordinal);
        Assert.EndsWith("3  zone=a  draining", result.Lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dry_run_of_a_rebalance_asks_for_its_plan()
    {
        await using var server = new FakeServer().On("POST /api/v1/rebalance?plan=true", Plan(possible: true));

        var result = await Cli.AtAsync(server, "rebalance", "--dry-run");

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("db-1", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_tripped_breaker_says_why_and_what_ends_it()
    {
        await using var server = new FakeServer().On("GET /api/v1/breaker", new BreakerResource("tripped", "too much broke", Sample.Noon, null, null, ["host-b"]));

        var result = await Cli.AtAsync(server, "breaker", "show");

        Assert.Contains("automatic moves  stand, until 'fabric breaker reset'", result.Lines);
        Assert.Contains("reason           too much broke", result.Lines);
    }

    [Theory]
    [InlineData("POST /api/v1/hosts/host-a/drain?plan=true", "host", "drain", "host-a")]
    [InlineData("POST /api/v1/claims/db-1/migrations?plan=true", "migrate", "db-1")]
    [InlineData("DELETE /api/v1/claims/db-1?plan=true", "claim", "release", "db-1")]
    [InlineData("POST /api/v1/devices/host-a/0000:3b:00.2/reset?plan=true", "device", "reset", "host-a/0000:3b:00.2")]
    [InlineData("DELETE /api/v1/devices/host-a/0000:3b:00.2/binding?group=true&plan=true", "device", "unbind", "host-a/0000:3b:00.2", "--group")]
    public async Task A_command_below_plan_is_planned_and_not_carried_out(string route, params string[] command)
    {
        await using var server = new FakeServer().On(route, Plan(possible: true));

        var result = await Cli.AtAsync(server, ["plan", .. command]);

        Assert.Equal(0, result.ExitCode);
        Assert.StartsWith(route, Assert.Single(server.Requests), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_plan_that_would_be_refused_ends_with_3_and_the_reasons()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims/db-1/migrations?plan=true", Plan(possible: false));

        var result = await Cli.AtAsync(server, "plan", "migrate", "db-1", "--to", "host-b");

        Assert.Equal(3, result.ExitCode);
        Assert.Contains("  host-b is full.", result.Lines);
    }

    [Fact]
    public async Task A_migration_by_a_plan_sends_its_id()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims/db-1/migrations", Sample.Migration("reserve"), 202);

        await Cli.AtAsync(server, "migrate", "db-1", "--plan", "0123456789abcdef");

        Assert.Equal("""POST /api/v1/claims/db-1/migrations {"plan":"0123456789abcdef"}""", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task A_claim_is_created_with_its_labels_and_its_group()
    {
        await using var server = new FakeServer().On("POST /api/v1/claims", Sample.Claim(), 202);

        await Cli.AtAsync(server, "claim", "create", "db-1", "--select", "zone=a", "--select", "rack=r7", "--apart-from", "db");

        Assert.Equal("""POST /api/v1/claims {"id":"db-1","select":["zone=a","rack=r7"],"apart_from":"db"}""", Assert.Single(server.Requests));
    }

    [Fact]
    public async Task Migrations_are_listed_by_time_and_outcome()
    {
        await using var server = new FakeServer().On("GET /api/v1/migrations?since=2026-03-01T12:00:00Z&outcome=committed", Sample.List(Sample.Migration("done", "committed")));

        var result = await Cli.AtAsync(server, "migration", "list", "--since", "2026-03-01T12:00:00Z", "--outcome", "committed");

        Assert.Equal(0, result.ExitCode);
    }

    private static DrainResource Draining(string state = "draining") => new("host-a", state, "ops", Sample.Noon,
        [new MovingClaimResource("db-1", state == "blocked" ? "blocked" : "waiting", "host-a", null, "there is no host to go to", null)]);

    private static HostResource Drained(string state) => Sample.Host() with { Drain = Draining(state) };

    private static PlanResource Plan(bool possible) => new(
        "0123456789abcdef", possible, "this would be done", possible ? [] : ["host-b is full."], [],
        possible ? [new MovingClaimResource("db-1", "planned", "host-a", "host-b", "it is even then", null)] : null);
}
