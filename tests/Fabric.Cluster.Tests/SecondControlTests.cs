using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>A SQLite journal has one control node.</summary>
[Collection(SharedFabric.Name)]
public sealed class SecondControlTests(SharedFabric shared)
{
    [Fact]
    public async Task A_second_control_node_with_a_journal_of_its_own_is_refused_and_the_fabric_goes_on()
    {
        var fabric = shared.Fabric;
        await fabric.ClaimRunningAsync("undisturbed", "host-a");
        Ending ending;
        await using (var second = Daemon.Start(new DaemonSettings("second", "control", fabric.PathOf("second"), fabric.Control.Endpoints.Cluster)))
            ending = await second.EndAsync();
        var migrated = await fabric.RunAsync("migrate", "undisturbed", "--to", "host-b", "--watch");
        await fabric.ReleaseAsync("undisturbed");

        Assert.Equal(1, ending.ExitCode);
        Assert.Contains("control is a control node of this fabric already, and a SQLite journal can have only one.", ending.Sentence, StringComparison.Ordinal);
        Assert.Contains("PostgreSQL", ending.Sentence, StringComparison.Ordinal);
        Assert.True(migrated.ExitCode == 0, migrated.ToString());
    }
}
