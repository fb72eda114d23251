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

    [Fact]
    public void A_host_has_no_journal()
    {
        var settings = new FabricSettings { Node = new NodeSettings { Name = "one", Roles = ["host"] } };

        var config = ClusterHocon.For(settings, sqlite: null).Select(ConfigurationFactory.ParseString).Aggregate((first, second) => second.WithFallback(first));

        Assert.False(config.HasPath("akka.persistence"));
        Assert.Equal(["host", "name:one"], config.GetStringList("akka.cluster.roles"));
    }
}
