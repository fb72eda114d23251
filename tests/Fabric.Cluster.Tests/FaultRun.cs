using Fabric.Cluster.Tests.Processes;
using Fabric.Migration.Hosts.Runs;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>What goes wrong during a migration.</summary>
internal enum MigrationFault
{
    None,
    Cancel,

    /// <summary>The state dies with it, unless the target has all of it.</summary>
    KillSource,
    KillTarget,
    KillControl,
    PauseSource,
    PauseTarget,
    PauseControl,
}

/// <summary>
/// Migrations one after another of a claim that works all the time, with a fault in each. After each it is on exactly one host, with every step done
/// once, or has stopped with the only copy of its state, and another takes its place; all the while hosts record what runs on them, and the record is
/// held to the laws.
/// </summary>
internal sealed class FaultRun(TestFabric fabric, Random random, Action<string> say)
{
    private static readonly string[] Hosts = ["host-a", "host-b", "host-c"];

    private readonly RunHistory history = new(fabric);
    private readonly HashSet<string> lost = [];
    private readonly Dictionary<string, int> outcomes = [];
    private string at = Hosts[0];
    private int claims = 1;
    private int number;

    public IReadOnlyList<RunRecord> Records => history.Records;

    /// <summary>How many migrations ended how, and how many claims it took.</summary>
    public string Summary => $"{string.Join(", ", outcomes.Select(static outcome => $"{outcome.Value} {outcome.Key}"))}; {claims} claims, {Records.Count} records";

    private string Claim => $"wanderer-{claims}";

    public static Task<TestFabric> StartAsync(string? journal) =>
        TestFabric.StartAsync(hosts: 3, journal: journal, controls: journal is null ? 1 : 3, recorded: true);

    public Task BeginAsync() => fabric.ClaimRunningAsync(Claim, at, memoryMib: 2);

    /// <summary>One migration, to its end.</summary>
    public async Task MigrateAsync(MigrationFault fault)
    {
        number++;
        var to = random.GetItems(Hosts.Where(host => host != at).ToArray(), 1)[0];
        var pause = TimeSpan.FromMilliseconds(random.Next(200, 6000));
        // Into the pre-copy, the stop, or what follows; a target that has the claim is its source already.
        var moment = TimeSpan.FromMilliseconds(random.Next(0, fault == MigrationFault.KillTarget ? 400 : 900));
        var ended = await MigrateAsync(to, fault, moment, pause);
        say($"{Claim}.{number}: {at} to {to}, {fault} after {moment.TotalMilliseconds} ms ({pause.TotalMilliseconds} ms): {ended.Outcome}, {ended.Reason}");
        outcomes[ended.Outcome!] = outcomes.GetValueOrDefault(ended.Outcome!) + 1;
        if (ended.Outcome == "failed" && fault == MigrationFault.KillSource)
        {
            await StopsAsync();
            return;
        }

        at = ended.Outcome == "committed" ? to : at;
        var claim = await fabric.RunsOnAsync(Claim, at);
        Assert.Equal((0, 0, 0), (claim.Workload!.Lost, claim.Workload.Repeated, claim.Workload.Torn));
        await FreeButAsync(at);
        history.Rests(Claim, at, claim.Device!);
        Assert.Empty(RunHistory.Check(history.Records, lost));
    }

    /// <summary>Its state died with its source: it ends, and holds nothing; another one begins.</summary>
    private async Task StopsAsync()
    {
        var claim = await fabric.ClaimAsync(Claim, static claim => claim.Phase == "failed", "failed");
        await FreeButAsync(null);
        history.Stops(Claim, claim.Message!);
        lost.Add(Claim);
        Assert.Empty(RunHistory.Check(history.Records, lost));
        await fabric.ReleaseAsync(Claim);
        (claims, number) = (claims + 1, 0);
        await BeginAsync();
    }

    private async Task FreeButAsync(string? holder)
    {
        foreach (var host in Hosts)
        {
            var free = host == holder ? DaemonSettings.VirtualFunctions - 1 : DaemonSettings.VirtualFunctions;
            await fabric.HostAsync(host, seen => seen.State == "up" && seen.Free == free, $"up with {free} functions free");
        }
    }

    private async Task<MigrationResource> MigrateAsync(string to, MigrationFault fault, TimeSpan moment, TimeSpan pause)
    {
        history.Began();
        // Under the limit a round takes about a second. A control node that stood still a moment ago may not see every host yet, and says so.
        await Poll.UntilAsync(
            $"migration {number} to begin",
            () => fabric.Http.PostAsync($"api/v1/claims/{Claim}/migrations", $$"""{"to":"{{to}}","bandwidth_mib_s":4}"""),
            static reply => reply.Status == 202);
        var coordinator = (await fabric.ClaimAsync(Claim)).Coordinator!;
        await Task.Delay(moment, TestContext.Current.CancellationToken);
        switch (fault)
        {
            case MigrationFault.None:
                break;
            case MigrationFault.Cancel:
                // Too late is an answer, too.
                await fabric.RunAsync("migration", "cancel", $"{Claim}.{number}");
                history.Faulted("cancelled");
                break;
            case MigrationFault.KillSource:
                await fabric[at].KillAsync();
                history.Killed(at);
                // Some are back before the fabric has noticed, some are put out first.
                await Task.Delay(pause * 2, TestContext.Current.CancellationToken);
                await fabric.RestartAsync(at);
                break;
            case MigrationFault.KillTarget:
                await fabric[to].KillAsync();
                history.Killed(to);
                await fabric.RestartAsync(to);
                break;
            case MigrationFault.KillControl:
                await fabric[coordinator].KillAsync();
                history.Faulted($"{coordinator} was killed");
                await fabric.RestartAsync(coordinator);
                break;
            case MigrationFault.PauseSource:
                await PauseAsync(fabric[at], pause);
                break;
            case MigrationFault.PauseTarget:
                await PauseAsync(fabric[to], pause);
                break;
            case MigrationFault.PauseControl:
                await PauseAsync(fabric[coordinator], pause);
                break;
        }

        foreach (var daemon in fabric.Daemons.ToArray())
            await daemon.ReadyAsync();
        return await fabric.MigrationAsync($"{Claim}.{number}", migration => migration.Outcome is not null, "over");
    }

    private async Task PauseAsync(Daemon daemon, TimeSpan time)
    {
        daemon.Pause();
        await Task.Delay(time, TestContext.Current.CancellationToken);
        daemon.Continue();
        history.Faulted($"{daemon.Name} stood still");
    }
}
