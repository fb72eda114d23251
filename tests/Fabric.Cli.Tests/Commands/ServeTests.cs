using Fabric.Cli.Commands;
using Fabric.Cli.Tests.Demo;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary><c>fabric serve</c>, with a script in the daemon's place.</summary>
public sealed class ServeTests
{
    [Fact]
    public async Task Models_are_a_table_or_JSON()
    {
        using var daemon = new StandIn("printf 'null\\tnothing\\nqat\\tsome thing\\n'");
        var table = await Cli.RunAsync("serve", "--list-models", "--fabricd", daemon.Path);
        Assert.Equal(0, table.ExitCode);
        Assert.Equal(["MODEL  WHAT IT IS", "null   nothing", "qat    some thing"], table.Lines.Select(static line => line.TrimEnd()));
        var json = await Cli.RunAsync("serve", "--list-models", "--fabricd", daemon.Path, "-o", "json");
        using var document = System.Text.Json.JsonDocument.Parse(json.Out);
        Assert.Equal("some thing", document.RootElement[1].GetProperty("description").GetString());
    }

    [Fact]
    public async Task The_daemon_gets_what_was_asked_and_its_words_and_its_ending_are_ours()
    {
        using var daemon = new StandIn("echo \"$*\"; echo trouble >&2; exit 1");
        var served = await Cli.RunAsync("serve", "--emulated", "null", "--socket", "/tmp/s", "--fabricd", daemon.Path);
        Assert.Equal((1, "serve --exit-on-stdin-close --emulated null --socket /tmp/s\n"), (served.ExitCode, served.Out));
        Assert.EndsWith("trouble\n", served.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ctrl_C_ends_the_daemon_in_order()
    {
        using var termination = new Termination();
        using var daemon = new StandIn("trap 'echo taken away; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        using var output = new Awaited("ready", termination.Interrupt);
        var environment = new CliEnvironment(output, TextWriter.Null, TimeProvider.System, static _ => null, "a@b", AppContext.BaseDirectory);
        var code = await CommandLine.RunAsync(["serve", "--emulated", "null", "--socket", "/tmp/s", "--fabricd", daemon.Path], environment, termination);
        Assert.Equal(ExitCode.Interrupted, code);
        Assert.Equal("ready\ntaken away\n", output.ToString());
    }

    [Fact]
    public async Task A_device_of_a_host_is_served_by_its_daemon_and_ended_there()
    {
        var resource = new SocketResource("host-a/0000:3b:00.2", "/run/s", Configured: false, 1, null);
        await using var server = new FakeServer()
            .On("PUT /api/v1/devices/host-a/0000:3b:00.2/socket", resource)
            .On("DELETE /api/v1/devices/host-a/0000:3b:00.2/socket", resource)
            .On("GET /api/v1/hosts/host-a/sockets", new ListResource<SocketResource>([resource]));
        var served = await Cli.RunAsync("serve", "host-a/0000:3b:00.2", "--socket", "/run/s", "--server", server.Url);
        var ended = await Cli.RunAsync("serve", "host-a/0000:3b:00.2", "--end", "--server", server.Url);
        var listed = await Cli.RunAsync("serve", "--list", "host-a", "--server", server.Url);
        Assert.Equal((0, 0, 0), (served.ExitCode, ended.ExitCode, listed.ExitCode));
        Assert.Contains("/run/s", served.Out, StringComparison.Ordinal);
        Assert.Equal(
            ["DEVICE               SOCKET  FROM       CLIENTS  REASON", "host-a/0000:3b:00.2  /run/s  a request        1  -"],
            listed.Lines.Select(static line => line.TrimEnd()));
        Assert.Contains(server.Requests, static request =>
            request.StartsWith("PUT", StringComparison.Ordinal) && request.EndsWith("""{"socket":"/run/s"}""", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("serve")]
    [InlineData("serve", "--emulated", "null")]
    [InlineData("serve", "--socket", "/tmp/s")]
    [InlineData("serve", "host-a/0000:3b:00.2")]
    [InlineData("serve", "host-a/0000:3b:00.2", "--socket", "/tmp/s", "--end")]
    [InlineData("serve", "host-a/0000:3b:00.2", "--socket", "/tmp/s", "--emulated", "null")]
    [InlineData("plan", "serve", "--emulated", "null", "--socket", "/tmp/s")]
    public async Task What_is_missing_is_said(params string[] args)
    {
        var served = await Cli.RunAsync(args);
        Assert.Equal((2, $"{ServeCommand.Needs}\n"), (served.ExitCode, served.Error));
    }

    [Fact]
    public async Task A_daemon_that_is_not_there_is_said()
    {
        var served = await Cli.RunAsync("serve", "--list-models", "--fabricd", "/nowhere/fabricd");
        Assert.Equal((1, "The daemon /nowhere/fabricd is not there: build the repository, or name another by --fabricd.\n"), (served.ExitCode, served.Error));
    }

    /// <summary>Text that does something when a line is written.</summary>
    private sealed class Awaited(string line, Action then) : StringWriter
    {
        public override async Task WriteLineAsync(string? value)
        {
            await base.WriteLineAsync(value);
            if (value == line)
                then();
        }
    }
}
