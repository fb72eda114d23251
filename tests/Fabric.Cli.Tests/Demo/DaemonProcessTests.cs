using System.Diagnostics;
using Fabric.Cli.Demo;

namespace Fabric.Cli.Tests.Demo;

public sealed class DaemonProcessTests
{
    private const string Listens = "echo up; listen 001 http://127.0.0.1:1; exec sleep 600";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task It_says_where_it_listens()
    {
        using var script = new StandIn(Listens);
        using var daemon = Start(script);

        var endpoints = await daemon.ListeningAsync(Cancellation);
        await daemon.KillAsync();

        Assert.Equal(("host-a", daemon.Pid, "127.0.0.1:4001"), (endpoints.Name, endpoints.Pid, endpoints.Cluster));
    }

    [Fact]
    public async Task Addresses_left_by_a_predecessor_are_not_believed()
    {
        using var script = new StandIn(Listens);
        await File.WriteAllTextAsync(Path.Combine(script.Folder, "endpoints.json"), "{}", Cancellation);
        using var daemon = Start(script);

        var endpoints = await daemon.ListeningAsync(Cancellation);
        await daemon.KillAsync();

        Assert.Equal(daemon.Pid, endpoints.Pid);
    }

    [Fact]
    public async Task One_that_ends_by_itself_is_named_with_its_last_words()
    {
        using var script = new StandIn("echo fine; echo 'port 4001 is taken' >&2; exit 3");
        using var daemon = Start(script);

        var failure = await Assert.ThrowsAsync<CommandFailure>(() => daemon.ListeningAsync(Cancellation));

        Assert.Contains($"host-a (process {daemon.Pid}) ended by itself with exit code 3.", failure.Message);
        Assert.EndsWith("  fine\n  port 4001 is taken", failure.Message);
    }

    [Fact]
    public async Task Stopping_asks_first()
    {
        using var script = new StandIn("trap 'echo asked; exit 0' TERM; listen 001 http://127.0.0.1:1; while :; do sleep 0.05; done");
        using var daemon = Start(script);
        await daemon.ListeningAsync(Cancellation);

        await daemon.StopAsync(TimeSpan.FromSeconds(30));

        Assert.Contains("asked", LogTail.Of(Path.Combine(script.Folder, "log"), 5));
    }

    [Fact]
    public async Task Stopping_kills_one_that_does_not_listen()
    {
        using var script = new StandIn("trap '' TERM; listen 001 http://127.0.0.1:1; while :; do sleep 0.05; done");
        using var daemon = Start(script);
        await daemon.ListeningAsync(Cancellation);

        await daemon.StopAsync(TimeSpan.FromMilliseconds(200));

        Assert.True(daemon.HasExited);
    }

    [Fact]
    public async Task A_tied_one_ends_with_its_parents_end_of_the_pipe()
    {
        using var script = new StandIn(
            "listen 001 http://127.0.0.1:1; [ \"$3\" = --exit-on-stdin-close ] && cat >/dev/null; echo parent gone");
        using var daemon = Start(script, tied: true);
        await daemon.ListeningAsync(Cancellation);
        using var process = Process.GetProcessById(daemon.Pid);

        daemon.Dispose();
        await process.WaitForExitAsync(Cancellation);

        Assert.Equal("  parent gone", LogTail.Of(Path.Combine(script.Folder, "log"), 1));
    }

    [Fact]
    public async Task An_untied_one_is_told_nothing_of_its_parent()
    {
        using var script = new StandIn("echo \"$# arguments\"; listen 001 http://127.0.0.1:1; exec sleep 600");
        using var daemon = Start(script, tied: false);
        await daemon.ListeningAsync(Cancellation);
        await daemon.KillAsync();

        Assert.Equal("  2 arguments", LogTail.Of(Path.Combine(script.Folder, "log"), 1));
    }

    private static DaemonProcess Start(StandIn script, bool tied = false)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Daemons of a demo are Unix processes.");
        var configuration = Path.Combine(script.Folder, "fabricd.json");
        File.WriteAllText(
            configuration,
            new DaemonConfiguration("host-a", "host", script.Folder, [], 0, "http://127.0.0.1:0", "", "1MiB").ToJson());
        return DaemonProcess.Start(
            new DaemonLaunch("host-a", script.Path, configuration, script.Folder, Path.Combine(script.Folder, "log"), tied),
            TimeProvider.System);
    }
}
