using System.Globalization;
using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>
/// Migrations one after another, with a fault in each: a claim that works all the time is on exactly one host after each, with every step done once.
/// A long run, and so only where <c>FABRIC_FAULT_MIGRATIONS</c> says how many; <c>FABRIC_FAULT_SEED</c> replays the faults of a run.
/// </summary>
public sealed class FaultRunTests(PrivatePostgres postgres, ITestOutputHelper output)
{
    private const string Claim = "wanderer";

    /// <summary>The source is never killed: the only copy of the state would die with it, which is another test's.</summary>
    private enum Fault
    {
        None,
        Cancel,
        KillTarget,
        KillControl,
        PauseSource,
        PauseTarget,
        PauseControl,
    }

    [Theory]
    [InlineData(JournalKind.Sqlite)]
    [InlineData(JournalKind.PostgreSql)]
    public async Task Whatever_is_killed_or_paused_the_claim_ends_on_one_host_and_no_step_is_lost(JournalKind kind)
    {
        if (FromEnvironment("FABRIC_FAULT_MIGRATIONS") is not { } migrations)
        {
            Assert.Skip("A long run: set FABRIC_FAULT_MIGRATIONS to the number of migrations, such as 100.");
            return;
        }

        var seed = FromEnvironment("FABRIC_FAULT_SEED") ?? Random.Shared.Next();
        output.WriteLine($"FABRIC_FAULT_SEED={seed}, {migrations} migrations on {kind}");
        var random = new Random(seed);
        var journal = await postgres.JournalAsync(kind);
        await using var fabric = await TestFabric.StartAsync(hosts: 3, journal: journal, controls: journal is null ? 1 : 3);
        await fabric.ClaimRunningAsync(Claim, "host-a", memoryMib: 2);
        var at = "host-a";
        // Each fault comes once before any comes twice.
        var faults = new Queue<Fault>();
        for (var number = 1; number <= migrations; number++)
        {
            if (faults.Count == 0)
            {
                var all = Enum.GetValues<Fault>();
                random.Shuffle(all);
                faults = new Queue<Fault>(all);
            }

            var (fault, to) = (faults.Dequeue(), random.GetItems(new[] { "host-a", "host-b", "host-c" }.Where(host => host != at).ToArray(), 1)[0]);
            var pause = TimeSpan.FromMilliseconds(random.Next(200, 6000));
            // Into the pre-copy, the stop, or what follows.
            var moment = TimeSpan.FromMilliseconds(random.Next(0, 900));
            var ended = await MigrateAsync(fabric, number, at, to, fault, moment, pause);
            output.WriteLine($"{number}: {at} to {to}, {fault} after {moment.TotalMilliseconds} ms ({pause.TotalMilliseconds} ms): {ended.Outcome}, {ended.Reason}");
            at = ended.Outcome == "committed" ? to : at;

            var claim = await fabric.RunsOnAsync(Claim, at);
            Assert.Equal((0, 0, 0), (claim.Workload!.Lost, claim.Workload.Repeated, claim.Workload.Torn));
            foreach (var host in new[] { "host-a", "host-b", "host-c" })
            {
                var free = host == at ? DaemonSettings.VirtualFunctions - 1 : DaemonSettings.VirtualFunctions;
                await fabric.HostAsync(host, seen => seen.State == "up" && seen.Free == free, $"up with {free} functions free");
            }
        }
    }

    private static async Task<MigrationResource> MigrateAsync(
        TestFabric fabric, int number, string from, string to, Fault fault, TimeSpan moment, TimeSpan pause)
    {
        // Under the limit a round takes about a second.
        var reply = await fabric.Http.PostAsync($"api/v1/claims/{Claim}/migrations", $$"""{"to":"{{to}}","bandwidth_mib_s":4}""");
        Assert.True(reply.Status == 202, reply.ToString());
        var coordinator = (await fabric.ClaimAsync(Claim)).Coordinator!;
        await Task.Delay(moment, TestContext.Current.CancellationToken);
        switch (fault)
        {
            case Fault.None:
                break;
            case Fault.Cancel:
                // Too late is an answer, too.
                await fabric.RunAsync("migration", "cancel", $"{Claim}.{number}");
                break;
            case Fault.KillTarget:
                await fabric[to].KillAsync();
                await fabric.RestartAsync(to);
                break;
            case Fault.KillControl:
                await fabric[coordinator].KillAsync();
                await fabric.RestartAsync(coordinator);
                break;
            case Fault.PauseSource:
                await PauseAsync(fabric[from], pause);
                break;
            case Fault.PauseTarget:
                await PauseAsync(fabric[to], pause);
                break;
            case Fault.PauseControl:
                await PauseAsync(fabric[coordinator], pause);
                break;
        }

        foreach (var daemon in fabric.Daemons.ToArray())
            await daemon.ReadyAsync();
        return await fabric.MigrationAsync($"{Claim}.{number}", migration => migration.Outcome is not null, "over");
    }

    private static async Task PauseAsync(Daemon daemon, TimeSpan time)
    {
        daemon.Pause();
        await Task.Delay(time, TestContext.Current.CancellationToken);
        daemon.Continue();
    }

    private static int? FromEnvironment(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
}
