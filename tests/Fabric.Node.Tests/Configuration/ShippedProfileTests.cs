using Akka.Configuration;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Node.Security;
using Fabric.Node.Tests.Security;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Configuration;

public sealed class ShippedProfileTests
{
    public static TheoryData<string> Names => [.. Profiles.All];

    [Fact]
    public void The_profiles_that_are_promised_are_there() => Assert.Equal(
        [
            "postgresql/control-1.json", "postgresql/control-2.json", "postgresql/control-3.json", "postgresql/host-a.json",
            "reference.json", "single-host.json",
            "three-hosts/control.json", "three-hosts/host-a.json", "three-hosts/host-b.json", "three-hosts/host-c.json",
        ],
        Profiles.All);

    [Theory, MemberData(nameof(Names))]
    public void A_profile_loads(string name)
    {
        var settings = SettingsLoader.Load(Profiles.PathOf(name), Profiles.Missing(name));

        Assert.NotEmpty(settings.Node.Roles);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_profile_becomes_a_configuration_that_Akka_reads(string name)
    {
        var settings = SettingsLoader.Load(Profiles.PathOf(name), Profiles.Missing(name));

        var config = ClusterHocon.For(settings, settings.Journal.IsSqlite ? "Data Source=/nowhere/journal.db" : null)
            .Select(ConfigurationFactory.ParseString)
            .Aggregate((first, second) => second.WithFallback(first));

        Assert.Equal(settings.Cluster.Port, config.GetInt("akka.remote.dot-netty.tcp.port"));
        Assert.Contains($"name:{settings.Node.Name}", config.GetStringList("akka.cluster.roles"));
        Assert.Equal(settings.IsControl, config.HasPath("akka.persistence.journal.sql.connection-string"));
    }

    [Theory, MemberData(nameof(Names))]
    public async Task A_node_starts_from_a_profile(string name)
    {
        using var folder = new TemporaryFolder();
        using var authority = new TestAuthority(folder.Path);
        var settings = SettingsLoader.Load(
            Profiles.PathOf(name), [.. Profiles.Missing(name), "--cluster:port=0", "--dataPlane:port=0", $"--node:dataDirectory={folder.Path}"]);
        var (certificate, key) = authority.Sign(settings.Node.Name);
        var credentials = settings.Tls.IsSet
            ? NodeCredentials.Load(new TlsSettings { Certificate = certificate, Key = key, Ca = authority.Ca }, NullLogger.Instance)
            : null;
        using var journal = settings is { IsControl: true, Journal.IsSqlite: true } ? SqliteJournal.Open(folder.Path) : null;
        await using var host = settings.IsHost ? HostSystem.Start(settings, NullLoggerFactory.Instance, TimeProvider.System, credentials) : null;

        await using var membership = await Membership.BeginAsync(
            settings, journal?.ConnectionString, new WireSetup(WireContract.From(typeof(IWireMessage).Assembly)), NullLoggerFactory.Instance,
            credentials);

        Assert.Equal("127.0.0.1", membership.Address.Host);
        Assert.False(membership.Ended.IsCompleted);
    }

    [Fact]
    public void The_daemons_of_a_folder_do_not_get_in_each_others_way()
    {
        foreach (var folder in Profiles.All.Where(name => name.Contains('/')).GroupBy(name => name[..name.IndexOf('/', StringComparison.Ordinal)]))
        {
            var daemons = folder.Select(name => SettingsLoader.Load(Profiles.PathOf(name), [])).ToArray();
            var addresses = daemons.SelectMany(daemon => new[] { $"127.0.0.1:{daemon.Cluster.Port}", daemon.Api.Url["http://".Length..] }
                .Concat(daemon.IsHost ? [$"127.0.0.1:{daemon.DataPlane.Port}"] : []));

            Assert.Distinct(addresses);
            Assert.Distinct(daemons.Select(daemon => daemon.Node.Name));
            Assert.Distinct(daemons.Select(daemon => daemon.Node.DataDirectory));
        }
    }

    [Fact]
    public void The_daemons_of_a_folder_join_each_other()
    {
        foreach (var folder in Profiles.All.Where(name => name.Contains('/')).GroupBy(name => name[..name.IndexOf('/', StringComparison.Ordinal)]))
        {
            var daemons = folder.Select(name => SettingsLoader.Load(Profiles.PathOf(name), [])).ToArray();
            var controls = daemons.Where(daemon => daemon.IsControl).Select(daemon => $"127.0.0.1:{daemon.Cluster.Port}");

            Assert.All(daemons, daemon => Assert.Equal(controls, daemon.Cluster.Seeds));
            Assert.Single(daemons.Where(daemon => daemon.IsControl).Select(daemon => daemon.Journal.Connection).Distinct());
        }
    }
}
