using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;

namespace Fabric.Node.Tests;

/// <summary><c>fabricd</c> as a process: exit codes, and what it says where.</summary>
public sealed class DaemonProcessTests
{
    [Fact]
    public async Task Right_settings_are_checked_with_0_and_a_word()
    {
        var (code, output, error) = await RunAsync("--check", "--node:name=one", "--node:roles:0=control");

        Assert.Equal((0, "one: the settings are right.", ""), (code, output, error));
    }

    [Fact]
    public async Task A_shipped_profile_is_checked_with_0()
    {
        var (code, _, error) = await RunAsync("--check", "--config", Path.Combine(AppContext.BaseDirectory, "cluster-config", "single-host.json"));

        Assert.Equal((0, ""), (code, error));
    }

    [Fact]
    public async Task Wrong_settings_are_checked_with_2_and_one_line_on_standard_error()
    {
        var (code, output, error) = await RunAsync("--check", "--node:name=one", "--node:roles:0=guest");

        Assert.Equal((2, "", "fabricd: node.roles has 'guest'; there are 'control' and 'host'."), (code, output, error));
    }

    [Fact]
    public async Task A_malformed_file_is_checked_with_2()
    {
        using var folder = new TemporaryFolder();

        var (code, output, error) = await RunAsync("--check", "--config", folder.File("fabricd.json", "{ \"node\": "));

        Assert.Equal((2, ""), (code, output));
        Assert.StartsWith($"fabricd: The configuration file {folder.Path}/fabricd.json could not be read as JSON", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_missing_file_is_2()
    {
        var (code, _, error) = await RunAsync("--config", "/nowhere/fabricd.json");

        Assert.Equal(2, code);
        Assert.StartsWith("fabricd: There is no configuration file /nowhere/fabricd.json;", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_environment_variable_is_a_setting()
    {
        var (code, output, _) = await RunAsync(("FABRIC__NODE__NAME", "from-environment"), "--check", "--node:roles:0=control");

        Assert.Equal((0, "from-environment: the settings are right."), (code, output));
    }

    [Theory]
    [InlineData("--api:url=http://127.0.0.1:{0}", "api.url: 127.0.0.1:{0} cannot be listened on")]
    [InlineData("--cluster:port={0}", "cluster.port: 127.0.0.1:{0} cannot be listened on")]
    [InlineData("--dataPlane:port={0}", "dataPlane.port: 127.0.0.1:{0} cannot be listened on")]
    public async Task A_port_that_is_taken_ends_it_with_1_and_one_line_that_names_it(string argument, string named)
    {
        using var folder = new TemporaryFolder();
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;

        var (code, _, error) = await RunAsync(
            "--node:name=one", "--node:roles:0=control", "--node:roles:1=host", $"--node:dataDirectory={folder.Path}", "--cluster:port=0",
            "--dataPlane:port=0", "--api:url=http://127.0.0.1:0", string.Format(CultureInfo.InvariantCulture, argument, port));

        Assert.Equal(1, code);
        Assert.StartsWith("fabricd: could not start:", error, StringComparison.Ordinal);
        Assert.Contains(string.Format(CultureInfo.InvariantCulture, named, port), error, StringComparison.Ordinal);
        Assert.EndsWith("another daemon has it, or another program: stop that, or choose another port (0 takes a free one).", error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error);
    }

    [Fact]
    public async Task A_data_directory_that_cannot_be_made_is_named_with_2()
    {
        using var folder = new TemporaryFolder();
        var file = folder.File("file", "");

        var (code, _, error) = await RunAsync(
            "--node:name=one", "--node:roles:0=control", $"--node:dataDirectory={file}", "--cluster:port=0", "--api:url=http://127.0.0.1:0");

        Assert.Equal(2, code);
        Assert.StartsWith($"fabricd: node.dataDirectory '{file}' cannot be made:", error, StringComparison.Ordinal);
        Assert.EndsWith("name a folder that this daemon may write.", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_daemon_in_the_same_folder_ends_with_2_and_leaves_the_first_ones_file_alone()
    {
        using var folder = new TemporaryFolder();
        var endpoints = folder.File("endpoints.json", "of the first");
        using var first = DataDirectory.Take(new FabricSettings { Node = new NodeSettings { DataDirectory = folder.Path } });

        var (code, _, error) = await RunAsync(
            "--node:name=two", "--node:roles:0=host", $"--node:dataDirectory={folder.Path}", "--cluster:port=0", "--dataPlane:port=0",
            "--api:url=http://127.0.0.1:0", "--cluster:seeds:0=127.0.0.1:1");

        Assert.Equal((2, "of the first"), (code, await File.ReadAllTextAsync(endpoints, TestContext.Current.CancellationToken)));
        Assert.StartsWith($"fabricd: node.dataDirectory '{folder.Path}' is in use by another daemon", error, StringComparison.Ordinal);
        Assert.EndsWith("each daemon needs a folder of its own.", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_daemon_on_the_same_journal_ends_with_2_and_is_told_of_PostgreSQL()
    {
        using var folder = new TemporaryFolder();
        using var first = SqliteJournal.Open(folder.Path);

        var (code, _, error) = await RunAsync(
            "--node:name=two", "--node:roles:0=control", $"--node:dataDirectory={folder.Path}", "--cluster:port=0", "--api:url=http://127.0.0.1:0");

        Assert.Equal(2, code);
        Assert.EndsWith("for several, set journal.connection to a PostgreSQL.", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_host_that_cannot_write_its_history_ends_with_2_and_one_line_that_says_what_to_do()
    {
        using var folder = new TemporaryFolder();
        using var first = SqliteJournal.OpenHistory(folder.Path);

        var (code, _, error) = await RunAsync(
            "--node:name=two", "--node:roles:0=control", "--node:roles:1=host", $"--node:dataDirectory={folder.Path}", "--cluster:port=0",
            "--dataPlane:port=0", "--api:url=http://127.0.0.1:0");

        Assert.Equal(2, code);
        Assert.StartsWith("fabricd: The history of this host's devices,", error, StringComparison.Ordinal);
        Assert.EndsWith("Each host keeps its own: give it a node.dataDirectory that it alone can write.", error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error);
    }

    private static Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments) => RunAsync(("FABRIC", ""), arguments);

    private static async Task<(int Code, string Output, string Error)> RunAsync((string Name, string Value) variable, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "fabricd"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[variable.Name] = variable.Value;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        try
        {
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(2));
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }

        return (process.ExitCode, (await output).Trim(), (await error).Trim());
    }
}
