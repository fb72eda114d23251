using System.Collections.Immutable;
using System.Reflection;
using Akka.Actor;
using Akka.Cluster;
using Akka.Util;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

public sealed class SoleWriterTests
{
    [Theory]
    [InlineData("sqlite", "sqlite")]
    [InlineData("sqlite", "postgresql")]
    [InlineData("postgresql", "sqlite")]
    public void Two_control_nodes_are_refused_where_either_is_on_SQLite(string own, string others)
    {
        var (self, other) = (Control("late", 1, own), Control("early", 2, others));

        var refusal = SoleWriter.Refusal(self, [other, self]);

        Assert.StartsWith("early is a control node of this fabric already, and a SQLite journal can have only one.", refusal, StringComparison.Ordinal);
        Assert.Contains("set journal.connection to a PostgreSQL on all of them", refusal, StringComparison.Ordinal);
        Assert.EndsWith("take the role 'control' from late.", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Several_control_nodes_on_PostgreSQL_are_welcome()
    {
        var self = Control("one", 1, "postgresql");

        Assert.Null(SoleWriter.Refusal(self, [self, Control("two", 2, "postgresql"), Control("three", 3, "postgresql")]));
    }

    [Fact]
    public void One_control_node_on_SQLite_is_welcome()
    {
        var self = Control("one", 1, "sqlite");

        Assert.Null(SoleWriter.Refusal(self, [self]));
    }

    [Fact]
    public void An_earlier_life_at_the_same_address_is_another_node()
    {
        var self = Control("one", 1, "sqlite", life: 2);

        Assert.NotNull(SoleWriter.Refusal(self, [self, Control("one", 1, "sqlite", life: 1)]));
    }

    [Fact]
    public async Task A_second_control_node_with_a_SQLite_file_of_its_own_is_refused_when_it_has_joined()
    {
        using var folders = new TemporaryFolder();
        using var firstJournal = SqliteJournal.Open(Directory.CreateDirectory(Path.Combine(folders.Path, "first")).FullName);
        using var secondJournal = SqliteJournal.Open(Directory.CreateDirectory(Path.Combine(folders.Path, "second")).FullName);
        var first = Settings("first");
        await using var founder = await BeginAsync(first, firstJournal);
        await founder.JoinAsync(first, new MetControls(), host: null, "http://127.0.0.1:1", "0", TimeProvider.System, TestContext.Current.CancellationToken);
        var second = Settings("second", $"{founder.Address.Host}:{founder.Address.Port}");
        await using var late = await BeginAsync(second, secondJournal);

        var refused = await Assert.ThrowsAsync<RefusedException>(
            () => late.JoinAsync(second, new MetControls(), host: null, "http://127.0.0.1:2", "0", TimeProvider.System, TestContext.Current.CancellationToken));

        Assert.StartsWith("first is a control node of this fabric already", refused.Message, StringComparison.Ordinal);
    }

    private static Task<Membership> BeginAsync(FabricSettings settings, SqliteJournal journal) => Membership.BeginAsync(
        settings, journal.ConnectionString, new WireSetup(WireContract.From(typeof(IWireMessage).Assembly)), NullLoggerFactory.Instance);

    private static FabricSettings Settings(string name, params string[] seeds) => new()
    {
        Node = new NodeSettings { Name = name, Roles = ["control"] },
        Cluster = new() { Port = 0, Seeds = seeds },
    };

    private static Member Control(string name, int port, string journal, int life = 1)
    {
        // Akka makes members of what it hears; tests make them of what they need.
        var create = typeof(Member).GetMethod(
            "Create", BindingFlags.Static | BindingFlags.NonPublic, [typeof(UniqueAddress), typeof(ImmutableHashSet<string>), typeof(AppVersion)]);
        var address = new UniqueAddress(new Address("akka.tcp", "fabric", "127.0.0.1", port), life);
        return (Member)create!.Invoke(null, [address, FabricMembers.RolesOf(name, ["control"], journal).ToImmutableHashSet(), AppVersion.Zero])!;
    }
}
