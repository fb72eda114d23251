using System.Net;
using System.Net.Sockets;
using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>A daemon that cannot do what it is told ends with its exit code and one sentence.</summary>
public sealed class DaemonThatMustNotStartTests : IDisposable
{
    private const int CouldNotRun = 1;
    private const int SettingsAreWrong = 2;

    private readonly string folder = Directory.CreateTempSubdirectory("fabric-test-").FullName;

    private DaemonSettings Settings => new("lonely", "control", Path.Combine(folder, "data"));

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task A_file_of_settings_that_is_not_there()
    {
        var ending = await EndingOfAsync(Path.Combine(folder, "nothing.json"));
        AssertOneSentence(ending, SettingsAreWrong, "There is no configuration file", "nothing.json");
    }

    [Fact]
    public async Task A_file_of_settings_that_is_no_JSON()
    {
        var ending = await EndingOfAsync(Written("{ \"node\": {"));
        AssertOneSentence(ending, SettingsAreWrong, "settings.json could not be read as JSON");
    }

    [Theory]
    [InlineData("\"hardware\"", "\"hardwear\"", "There is no setting hardwear")]
    [InlineData("\"stateSize\"", "\"statesize2\"", "There is no setting hardware.emulated.statesize2")]
    [InlineData("\"256KiB\"", "\"some\"", "hardware.emulated.stateSize 'some'")]
    [InlineData("\"control\"", "\"controls\"", "node.roles has 'controls'")]
    public async Task A_setting_that_means_nothing(string right, string wrong, string part)
    {
        var ending = await EndingOfAsync(Written(Settings.ToJson().Replace(right, wrong, StringComparison.Ordinal)));
        AssertOneSentence(ending, SettingsAreWrong, part);
        Assert.False(Directory.Exists(Settings.DataDirectory), "a daemon that is told nonsense made its data directory");
    }

    [Theory]
    [InlineData("api")]
    [InlineData("cluster")]
    public async Task A_port_that_is_taken(string which)
    {
        using var holder = new TcpListener(IPAddress.Loopback, 0);
        holder.Start();
        var address = $"127.0.0.1:{((IPEndPoint)holder.LocalEndpoint).Port}";
        var ending = await EndingOfAsync(Written((which == "api"
            ? Settings with { Api = $"http://{address}" }
            : Settings with { ClusterPort = ((IPEndPoint)holder.LocalEndpoint).Port }).ToJson()));
        AssertOneSentence(ending, CouldNotRun, address, "another daemon has it");
    }

    [Fact]
    public async Task A_cluster_port_that_another_daemon_has()
    {
        await using var first = Daemon.Start(Settings);
        await first.ListeningAsync();
        var second = Settings with
        {
            DataDirectory = Path.Combine(folder, "second"), ClusterPort = new Uri($"tcp://{first.Endpoints.Cluster}").Port,
        };
        var ending = await EndingOfAsync(Written(second.ToJson()));
        AssertOneSentence(ending, CouldNotRun, first.Endpoints.Cluster, "another daemon has it");
        Assert.True(first.IsUp);
    }

    [Fact]
    public async Task A_journal_that_another_daemon_writes()
    {
        await using var first = Daemon.Start(Settings);
        await first.ReadyAsync();
        var ending = await EndingOfAsync(Written(Settings.ToJson()));
        AssertOneSentence(ending, SettingsAreWrong, "is in use by another daemon", "PostgreSQL");
        Assert.Equal(200, (await first.Http.GetAsync("health/ready")).Status);
    }

    private string Written(string json)
    {
        var file = Path.Combine(folder, "settings.json");
        File.WriteAllText(file, json);
        return file;
    }

    private static async Task<Ending> EndingOfAsync(string file)
    {
        await using var process = Daemon.RunFile(file);
        return await process.EndAsync();
    }

    private static void AssertOneSentence(Ending ending, int exitCode, params string[] parts)
    {
        Assert.Equal(exitCode, ending.ExitCode);
        Assert.StartsWith("fabricd: ", ending.Sentence, StringComparison.Ordinal);
        Assert.All(parts, part => Assert.Contains(part, ending.Sentence, StringComparison.Ordinal));
    }
}
