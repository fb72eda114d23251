using System.Text.Json;
using Fabric.Cli.Demo;
using Fabric.Cli.Output;

namespace Fabric.Cli.Tests.Demo;

public sealed class DemoFabricTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Hosts_join_at_the_control_node_and_all_become_ready()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        await using var fabric = Create(script);

        await StartAsync(fabric);

        Assert.Equal(["control", "host-a", "host-b", "host-c"], fabric.Running.Select(daemon => daemon.Name).Order());
        Assert.Empty(Seeds(fabric, "control"));
        Assert.Equal(["127.0.0.1:4001"], Seeds(fabric, "host-c"));
    }

    [Fact]
    public async Task With_a_postgresql_the_other_control_nodes_join_at_the_first()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        await using var fabric = Create(script, "Host=db;Password=x");

        await StartAsync(fabric);

        Assert.Equal(6, fabric.Running.Count);
        Assert.Equal(["127.0.0.1:4001"], Seeds(fabric, "control-3"));
        Assert.Equal("Host=db;Password=x", Configuration(fabric, "control-3").GetProperty("journal").GetProperty("connection").GetString());
        Assert.Equal("", Configuration(fabric, "host-a").GetProperty("journal").GetProperty("connection").GetString());
    }

    [Fact]
    public async Task One_restarted_in_place_has_its_data_and_ports_and_joins_at_those_alive()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        await using var fabric = Create(script);
        await StartAsync(fabric);
        await fabric.KillAsync("host-a");
        await fabric.KillAsync("control");

        fabric.Restart("control", inPlace: true);
        await fabric.ReadyAsync("control", Cancellation);

        var configuration = Configuration(fabric, "control");
        Assert.Equal(4001, configuration.GetProperty("cluster").GetProperty("port").GetInt32());
        Assert.Equal(server.Url, configuration.GetProperty("api").GetProperty("url").GetString());
        Assert.EndsWith("control/data", configuration.GetProperty("node").GetProperty("dataDirectory").GetString());
        Assert.Equal(["127.0.0.1:4001", "127.0.0.1:4001", "127.0.0.1:4001"], Seeds(fabric, "control"));
    }

    [Fact]
    public async Task One_restarted_afresh_has_nothing_of_what_it_was()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        await using var fabric = Create(script);
        await StartAsync(fabric);
        await fabric.KillAsync("host-a");

        fabric.Restart("host-a", inPlace: false);
        await fabric.ReadyAsync("host-a", Cancellation);

        var configuration = Configuration(fabric, "host-a");
        Assert.Equal(0, configuration.GetProperty("cluster").GetProperty("port").GetInt32());
        Assert.EndsWith("host-a/data-2", configuration.GetProperty("node").GetProperty("dataDirectory").GetString());
    }

    [Fact]
    public async Task A_daemon_that_nobody_killed_is_missed()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        await using var fabric = Create(script);
        await StartAsync(fabric);
        await fabric.KillAsync("host-b");
        fabric.ThrowIfOneDied();

        using (var victim = System.Diagnostics.Process.GetProcessById(fabric.Pid("host-c")))
        {
            victim.Kill();
            await victim.WaitForExitAsync(Cancellation);
        }

        var failure = Assert.Throws<CommandFailure>(fabric.ThrowIfOneDied);
        Assert.StartsWith("host-c (process ", failure.Message);
    }

    [Fact]
    public async Task A_host_that_dies_while_it_starts_ends_the_start_at_once()
    {
        await using var server = new FakeServer().OnText("GET /health/ready", 503, "text/plain", "");
        using var script = new StandIn(
            $"[ $name = host-b ] && {{ echo 'no hugepages'; exit 1; }}; listen 001 {server.Url}; exec sleep 600");
        await using var fabric = Create(script);

        var failure = await Assert.ThrowsAsync<CommandFailure>(() => StartAsync(fabric));

        Assert.StartsWith("host-b (process ", failure.Message);
        Assert.EndsWith("no hugepages", failure.Message);
    }

    [Fact]
    public async Task Nothing_is_left_behind()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        var fabric = Create(script);
        await StartAsync(fabric);
        using var process = System.Diagnostics.Process.GetProcessById(fabric.Pid("host-a"));

        await fabric.DisposeAsync();

        Assert.True(process.HasExited);
        Assert.False(Directory.Exists(fabric.Folder));
    }

    [Fact]
    public async Task After_a_failure_the_logs_stay_but_not_the_data()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        var fabric = Create(script);
        await StartAsync(fabric);
        fabric.KeepsLogs = true;

        await fabric.DisposeAsync();
        var left = Directory.GetFileSystemEntries(Path.Combine(fabric.Folder, "host-a")).Select(Path.GetFileName).Order().ToList();
        Directory.Delete(fabric.Folder, recursive: true);

        Assert.Equal(["fabricd.json", "fabricd.log"], left);
    }

    [Fact]
    public async Task Daemons_that_are_left_go_on()
    {
        await using var server = Healthy();
        using var script = Listening(server);
        var fabric = Create(script, keep: true);
        await StartAsync(fabric);
        fabric.Left = true;
        var processes = fabric.Running.Select(daemon => System.Diagnostics.Process.GetProcessById(daemon.Pid)).ToList();

        await fabric.DisposeAsync();
        var running = processes.Count(process => !process.HasExited);
        foreach (var process in processes)
        {
            process.Kill();
            await process.WaitForExitAsync(Cancellation);
            process.Dispose();
        }

        Directory.Delete(fabric.Folder, recursive: true);
        Assert.Equal(4, running);
    }

    [Fact]
    public async Task Without_a_daemon_to_start_the_demo_says_how_to_get_one()
    {
        var result = await Cli.RunAsync("demo", "--fabricd", "/nowhere/fabricd");

        Assert.Equal(
            (1, "There is no fabricd at /nowhere/fabricd. Build it with 'dotnet build', or give --fabricd PATH.\n"),
            (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task A_demo_whose_daemons_die_reports_that_as_json_and_exits_with_1()
    {
        using var script = new StandIn("echo 'bad weather'; exit 1");

        var result = await Cli.RunAsync("demo", "--json", "--fabricd", script.Path);

        Assert.Equal(1, result.ExitCode);
        var report = JsonElement.Parse(result.Out);
        Assert.False(report.GetProperty("ok").GetBoolean());
        var error = report.GetProperty("error").GetString()!;
        Assert.Contains("bad weather", error);
        Directory.Delete(Path.GetDirectoryName(Path.GetDirectoryName(error.Split("Its log, ")[1].Split(", ends:")[0]))!, recursive: true);
    }

    [Fact]
    public async Task What_a_daemon_refuses_of_the_demos_options_is_told_as_misuse()
    {
        using var script = new StandIn("echo 'fabricd: journal.connection is no connection string; write one.'; exit 2");

        var result = await Cli.RunAsync("demo", "--json", "--journal", "nonsense", "--fabricd", script.Path);

        Assert.Equal(2, result.ExitCode);
        Assert.Equal(
            "control-1 was refused by fabricd: journal.connection is no connection string; write one.",
            JsonElement.Parse(result.Out).GetProperty("error").GetString());
        Assert.DoesNotContain("== Logs", result.Error);
    }

    private static FakeServer Healthy() => new FakeServer().OnText("GET /health/ready", 200, "text/plain", "");

    private static StandIn Listening(FakeServer server) => new($"listen 001 {server.Url}; exec sleep 600");

    private static DemoFabric Create(StandIn script, string? journal = null, bool keep = false)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Daemons of a demo are Unix processes.");
        return DemoFabric.Create(new DemoOptions(new ByteSize(1 << 20), journal, null, 300, script.Path, keep), TimeProvider.System);
    }

    private static Task<int> StartAsync(DemoFabric fabric) => new PlainScreen(TextWriter.Null).ShowAsync(async board =>
    {
        await fabric.StartAsync(board, Cancellation);
        return 0;
    });

    private static JsonElement Configuration(DemoFabric fabric, string daemon) =>
        JsonElement.Parse(File.ReadAllText(Path.Combine(fabric.Folder, daemon, "fabricd.json")));

    private static IEnumerable<string?> Seeds(DemoFabric fabric, string daemon) =>
        Configuration(fabric, daemon).GetProperty("cluster").GetProperty("seeds").EnumerateArray().Select(seed => seed.GetString());
}
