using Akka.Cluster.Sharding;
using Akka.Cluster.Tools.Singleton;
using Akka.Configuration;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;

namespace Fabric.Node.Tests.Hosting;

public sealed class ClusterHoconTests
{
    [Theory]
    [InlineData("Host=127.0.0.1;Password=plain")]
    [InlineData("""Host=127.0.0.1;Password="quoted";Port=5432""")]
    [InlineData("""Host=127.0.0.1;Password='sing"le'""")]
    [InlineData("""Host=127.0.0.1;Password=back\slash\""")]
    [InlineData("""Host=127.0.0.1;Password=\"\\\"n\t""")]
    [InlineData("Host=127.0.0.1;Password=${HOME}$x")]
    [InlineData("Host=127.0.0.1;Password=#no//comment")]
    [InlineData("Host=127.0.0.1;Password={[}],:=+?")]
    [InlineData("Host=127.0.0.1;Password=\"\"\"three\"\"\"")]
    [InlineData("Host=127.0.0.1;Password=tab\tline\nreturn\rend")]
    [InlineData("Host=127.0.0.1;Password=ünïcödé \u2028 ✓")]
    public void A_connection_string_reaches_Akka_as_it_was_given(string connection)
    {
        var settings = new FabricSettings
        {
            Node = new NodeSettings { Name = "one", Roles = ["control"] },
            Journal = new JournalSettings { Connection = connection },
        };

        var config = ConfigurationFactory.ParseString(ClusterHocon.For(settings, sqlite: null).Last());

        Assert.Equal(connection, config.GetString("akka.persistence.journal.sql.connection-string"));
        Assert.Equal(connection, config.GetString("akka.persistence.snapshot-store.sql.connection-string"));
    }

    [Theory]
    [InlineData(null, "PostgreSQL.15", "postgresql")]
    [InlineData("Data Source=journal.db", "SQLite.MS", "sqlite")]
    public void The_journal_is_what_the_settings_choose(string? sqlite, string provider, string kind)
    {
        var settings = new FabricSettings
        {
            Node = new NodeSettings { Name = "one", Roles = ["control"] },
            Journal = new JournalSettings { Connection = sqlite is null ? "Host=127.0.0.1" : "" },
        };

        var config = ClusterHocon.For(settings, sqlite).Select(ConfigurationFactory.ParseString).Aggregate((first, second) => second.WithFallback(first));

        Assert.Equal(provider, config.GetString("akka.persistence.journal.sql.provider-name"));
        Assert.Contains($"journal:{kind}", config.GetStringList("akka.cluster.roles"));
    }

    /// <summary>One of three control nodes may be starting, or dying: the other two allocate shards.</summary>
    [Fact]
    public void Two_of_three_control_nodes_are_enough_for_the_coordinator()
    {
        var settings = new FabricSettings { Node = new NodeSettings { Name = "one", Roles = ["control"] }, Journal = new JournalSettings { Connection = "Host=x" } };
        var config = ClusterHocon.For(settings, sqlite: null).Select(ConfigurationFactory.ParseString).Aggregate((first, second) => second.WithFallback(first))
            .WithFallback(ClusterSharding.DefaultConfig()).WithFallback(ClusterSingleton.DefaultConfig());

        var sharding = ClusterShardingSettings.Create(config.GetConfig("akka.cluster.sharding"), config.GetConfig("akka.cluster.singleton"));

        Assert.Equal((0, 0), (sharding.TuningParameters.CoordinatorStateWriteMajorityPlus, sharding.TuningParameters.CoordinatorStateReadMajorityPlus));
        Assert.Equal(1, config.GetInt("akka.cluster.sharding.distributed-data.majority-min-cap"));
        Assert.Empty(config.GetStringList("akka.cluster.sharding.distributed-data.durable.keys"));
        Assert.True(sharding.TuningParameters.UpdatingStateTimeout < TimeSpan.FromSeconds(15), "A requester waits 15 s for a new claim.");
    }

    [Fact]
    public void A_host_has_no_journal()
    {
        var settings = new FabricSettings { Node = new NodeSettings { Name = "one", Roles = ["host"] } };

        var config = ClusterHocon.For(settings, sqlite: null).Select(ConfigurationFactory.ParseString).Aggregate((first, second) => second.WithFallback(first));

        Assert.False(config.HasPath("akka.persistence"));
        Assert.Equal(["host", "name:one"], config.GetStringList("akka.cluster.roles"));
    }
}
