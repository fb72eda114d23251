using System.Text.Json;
using Fabric.Node.Api;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

/// <summary>Control nodes that are found by Akka.Discovery.</summary>
public sealed class SeedDiscoveryTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task What_is_found_are_the_seeds_in_one_order()
    {
        var found = await FindAsync("127.0.0.1:8472", "127.0.0.1:8471", "127.0.0.1:8472");

        Assert.Equal(["127.0.0.1:8471", "127.0.0.1:8472"], found.Cluster.Seeds);
    }

    [Fact]
    public async Task A_name_is_as_good_as_an_address() =>
        Assert.Contains("127.0.0.1:8471", (await FindAsync("localhost:8471")).Cluster.Seeds);

    [Fact]
    public async Task Without_tls_only_loopback_is_spoken_to()
    {
        var refused = await Assert.ThrowsAsync<RefusedException>(() => FindAsync("192.0.2.1:8471"));

        Assert.StartsWith("controls was found at 192.0.2.1:8471, which is not loopback", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("akka.discovery { method = none-such }", "names no method that there is")]
    [InlineData("something.else = 1", "has no akka.discovery")]
    public async Task A_file_that_says_nothing_of_use_is_told_with_its_name(string content, string why)
    {
        var refused = await Assert.ThrowsAsync<SettingsException>(() => FindAsync(WithFile(content)));

        Assert.StartsWith("cluster.discovery.configuration: ", refused.Message, StringComparison.Ordinal);
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_is_not_there_is_told()
    {
        var settings = WithFile("");
        File.Delete(settings.Cluster.Discovery.Configuration);

        var refused = await Assert.ThrowsAsync<SettingsException>(() => FindAsync(settings));

        Assert.Contains("cannot be read as HOCON", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_host_joins_the_control_node_that_it_finds()
    {
        await using var control = await RunningDaemon.StartAsync("--node:name=control", "--node:roles:0=control");
        var endpoints = JsonSerializer.Deserialize<EndpointsDocument>(
            await File.ReadAllTextAsync(Path.Combine(control.Folder, "endpoints.json"), TestContext.Current.CancellationToken), ApiJson.Options)!;

        await using var host = await RunningDaemon.StartAsync(
            "--node:name=host", "--node:roles:0=host", "--cluster:discovery:service=controls", $"--cluster:discovery:configuration={FileOf([endpoints.Cluster])}");

        await host.BecomeReadyAsync();
    }

    private Task<FabricSettings> FindAsync(params string[] endpoints) => FindAsync(WithFile(HoconOf(endpoints)));

    private static Task<FabricSettings> FindAsync(FabricSettings settings) =>
        SeedDiscovery.FindAsync(settings, TimeProvider.System, NullLogger.Instance, TestContext.Current.CancellationToken);

    private FabricSettings WithFile(string content) => new()
    {
        Cluster = new ClusterSettings { Discovery = new DiscoverySettings { Service = "controls", Configuration = Written(content) } },
    };

    private string FileOf(string[] endpoints) => Written(HoconOf(endpoints));

    private static string HoconOf(string[] endpoints) => $$"""
        akka.discovery {
          method = config
          config.services.controls.endpoints = [{{string.Join(", ", endpoints.Select(static endpoint => $"\"{endpoint}\""))}}]
        }
        """;

    private string Written(string content)
    {
        var file = Path.Combine(folder.Path, "discovery.hocon");
        File.WriteAllText(file, content);
        return file;
    }
}
