using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

public sealed class FailureTests
{
    [Theory]
    [InlineData(409, ProblemCode.RefusedByPlan, 3)]
    [InlineData(504, ProblemCode.Timeout, 4)]
    [InlineData(504, "something-new", 4)]
    [InlineData(400, ProblemCode.InvalidRequest, 2)]
    [InlineData(404, ProblemCode.NotFound, 1)]
    [InlineData(409, ProblemCode.Conflict, 1)]
    [InlineData(503, ProblemCode.JournalUnavailable, 1)]
    public async Task A_problem_is_its_detail_on_standard_error_and_the_exit_code_of_its_kind(int status, string code, int exitCode)
    {
        await using var server = new FakeServer().On(
            "POST /api/v1/claims/db-1/migrations", Sample.Problem(status, code, "host-b has no free accelerator-vf; release one."));

        var result = await Cli.AtAsync(server, "migrate", "db-1", "--to", "host-b");

        Assert.Equal((exitCode, "host-b has no free accelerator-vf; release one.\n", ""), (result.ExitCode, result.Error, result.Out));
    }

    [Fact]
    public async Task Nobody_there_is_told_with_the_remedy()
    {
        var url = $"http://127.0.0.1:{FakeServer.FreePort()}";

        var result = await Cli.RunAsync("host", "list", "--server", url);

        Assert.Equal(
            (1, $"No fabricd answers at {url}: connection refused. Start one, or give --server.\n"), (result.ExitCode, result.Error));
    }

    [Theory]
    [InlineData(502, "text/html", "<h1>Bad gateway</h1>")]
    [InlineData(200, "text/html", "<h1>Welcome</h1>")]
    [InlineData(200, "application/json", "null")]
    public async Task Another_server_than_a_daemon_is_recognised(int status, string type, string body)
    {
        await using var server = new FakeServer().OnText("GET /api/v1/hosts", status, type, body);

        var result = await Cli.AtAsync(server, "host", "list");

        Assert.Equal(1, result.ExitCode);
        Assert.EndsWith("that is not fabricd, or not its base address. Check --server.\n", result.Error);
    }

    [Fact]
    public async Task Ctrl_C_ends_quietly_with_130()
    {
        var never = new TaskCompletionSource();
        await using var server = new FakeServer().OnStream("GET /api/v1/events", "", never.Task);
        using var termination = new Termination();

        var running = Cli.RunAsync(
            new Dictionary<string, string>(), termination, "events", "--follow", "--server", server.Url);
        termination.Interrupt();
        var result = await running;
        never.SetResult();

        Assert.Equal((130, "", ""), (result.ExitCode, result.Out, result.Error));
    }
}
