using System.Globalization;
using System.Reflection;
using Fabric.Cli.Api;
using Fabric.Cli.Demo;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Benchmarks.Migrations;

/// <summary>
/// What a migration costs beside moving its bytes: a claim that works goes to and fro between two hosts, with daemons of their own and a journal on
/// SQLite, and each migration is taken from the fabric's own report of it.
/// </summary>
internal static class MigrationBenchmark
{
    private const string Claim = "shuttle";
    private const double ControlPlaneTargetMs = 10;
    private const double DowntimeTargetMs = 5;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>The bytes move in these, and the device saves and loads.</summary>
    private static readonly string[] Moving = ["pre-copy", "drain", "quiesce", "final copy", "load"];

    /// <param name="args">--migrations N that are measured, --warm N before them, --state-mebibytes N of the device</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var migrations = Arguments.Number(args, "--migrations", 200);
        var warm = Arguments.Number(args, "--warm", 20);
        var state = Arguments.Number(args, "--state-mebibytes", 1);
        var size = ByteSize.TryParse($"{state}MiB", out var parsed) ? parsed : throw new ArgumentException($"{state} MiB is no size of a device's state.");
        var fabricd = typeof(MigrationBenchmark).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static data => data.Key == "Fabricd").Value!;
        var options = new DemoOptions(size, Journal: null, StepsPerSecond: null, DowntimeMs: 300, fabricd, Keep: false);
        await using var fabric = DemoFabric.Create(options, TimeProvider.System);
        await fabric.StartAsync(new Silence(), CancellationToken.None);
        var api = fabric.Api(fabric.Controls[0]);
        await api.CreateClaimAsync(new CreateClaimRequest(Claim, Host: fabric.Hosts[0], MemoryMib: 1, StepsPerSecond: 2000), CancellationToken.None);
        await WorkingAsync(api);

        var measured = new List<MigrationResource>();
        for (var number = 1; number <= warm + migrations; number++)
        {
            var ended = await MigrateAsync(api, fabric.Hosts[number % 2]);
            if (number > warm)
                measured.Add(ended);
        }

        Console.WriteLine($"{migrations} migrations of {state} MiB of device state and 1 MiB of memory, after {warm} to warm up");
        Console.WriteLine($"{"ms",-28}{"median",10}{"95 %",10}{"worst",10}");
        foreach (var phase in measured.SelectMany(static migration => migration.Phases).Select(static phase => phase.Name).Distinct())
            Report(phase, measured, migration => migration.Phases.Where(known => known.Name == phase).Sum(static known => known.Ms));
        Report("total", measured, static migration => migration.TotalMs);
        Report("downtime", measured, static migration => migration.DowntimeMs!.Value);
        var met = Report("all but moving the bytes", measured, static migration => migration.TotalMs - MovingMs(migration), ControlPlaneTargetMs);
        met &= Report(
            "downtime that is added",
            measured,
            static migration => migration.DowntimeMs!.Value - MovingMs(migration, duringDowntime: true),
            DowntimeTargetMs);
        return met ? 0 : 1;
    }

    private static async Task WorkingAsync(FabricApi api)
    {
        using var limit = new CancellationTokenSource(Limit);
        while ((await api.ClaimAsync(Claim, limit.Token)).Value is not { Phase: "running", Workload.Steps: > 0 })
            await Task.Delay(20, limit.Token);
    }

    private static async Task<MigrationResource> MigrateAsync(FabricApi api, string to)
    {
        using var limit = new CancellationTokenSource(Limit);
        var id = (await api.MigrateAsync(Claim, new StartMigrationRequest(to), limit.Token)).Value.Id;
        while (true)
        {
            var migration = (await api.MigrationAsync(id, limit.Token)).Value;
            if (migration.Outcome is { } outcome)
                return outcome == "committed" ? migration : throw new InvalidOperationException($"{id}: {outcome}, {migration.Reason}");
            await Task.Delay(10, limit.Token);
        }
    }

    private static double MovingMs(MigrationResource migration, bool duringDowntime = false) => migration.Phases
        .Where(phase => Moving.Contains(phase.Name) && (phase.Downtime || !duringDowntime))
        .Sum(static phase => phase.Ms);

    private static bool Report(string name, List<MigrationResource> measured, Func<MigrationResource, double> figure, double? target = null)
    {
        var sorted = measured.Select(figure).Order().ToArray();
        var median = sorted[sorted.Length / 2];
        var verdict = target is null ? "" : string.Create(CultureInfo.InvariantCulture, $"  {(median <= target ? "met" : "MISSED")}: at most {target} at the median");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{name,-28}{median,10:F2}{sorted[sorted.Length * 95 / 100],10:F2}{sorted[^1],10:F2}{verdict}"));
        return median <= (target ?? double.MaxValue);
    }

    private sealed class Silence : IBoard
    {
        public void Set(string row, double? fraction, string stage, string detail = "", bool ended = false)
        {
        }
    }
}
