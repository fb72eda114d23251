using System.Globalization;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Benchmarks.Fleets;

/// <summary>What hosts and claims cost the control plane as their number grows: a cost per host or per claim that grows is not linear.</summary>
internal static class FleetBenchmark
{
    private const double Rack = 0.05;

    private static readonly int[] Sizes = [10, 30, 100, 300, 1000, 3000, 10_000];

    /// <param name="args">--hosts N at most, --devices N of each, --rounds N of inventories, --per-fabric N and --per-host N moves at once</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var most = Arguments.Number(args, "--hosts", 1000);
        var devices = Arguments.Number(args, "--devices", 64);
        var rounds = Arguments.Number(args, "--rounds", 5);
        var limits = new MoveLimits(Arguments.Number(args, "--per-fabric", 5), Arguments.Number(args, "--per-host", 2));
        int[] sizes = [.. Sizes.Where(size => size < most), most];
        // For the compiler.
        await InventoryCost.MeasureAsync(new SampleFleet(sizes[0], devices), devices, rounds * 10);
        DrainCost.Measure(new SampleFleet(sizes[0], devices), Rack, limits);
        RebalanceCost.Measure(new SampleFleet(sizes[0], devices), devices);

        Write($"Inventories, of {devices} devices each");
        Write($"{"hosts",8}{"wire, B",10}{"take, us/host",16}{"unchanged, us/host",20}{"kept, KiB/host",16}{"describe, us/host",20}{"read, us/host",16}{"messages",10}{"largest, KiB",14}");
        foreach (var hosts in sizes)
        {
            var cost = await InventoryCost.MeasureAsync(new SampleFleet(hosts, devices), devices, rounds);
            Write($"{hosts,8}{cost.Bytes,10}{cost.TakeUs,16:F0}{cost.UnchangedUs,20:F0}{cost.KeptBytes / 1024.0,16:F1}{cost.DescribeMs * 1000 / hosts,20:F2}{cost.ReadMs * 1000 / hosts,16:F1}{cost.Messages,10}{cost.LargestBytes / 1024.0,14:F1}");
        }

        Write($"Drain of {Rack * 100:F0} % of the hosts, half of the devices claimed, {limits.PerFabric} moves at once");
        Write($"{"hosts",8}{"drained",10}{"moved",8}{"rounds",8}{"CPU, ms/round",16}{"us/host, round",16}{"ms/claim moved",16}{"decisions/s",14}");
        foreach (var hosts in sizes)
        {
            var cost = DrainCost.Measure(new SampleFleet(hosts, devices), Rack, limits);
            var (perHost, perClaim, decisions) = (cost.RoundMs * 1000 / hosts, cost.CpuMs / cost.Moved, cost.Moved * 1000 / cost.CpuMs);
            Write($"{hosts,8}{cost.Drained,10}{cost.Moved,8}{cost.Rounds,8}{cost.RoundMs,16:F2}{perHost,16:F1}{perClaim,16:F2}{decisions,14:F0}");
        }

        Write($"Plan of a rebalance: a tenth of the hosts have half as many claims again as the others");
        Write($"{"hosts",8}{"claims",10}{"moves",8}{"CPU, ms",12}{"ms/move",12}");
        foreach (var hosts in sizes)
        {
            var cost = RebalanceCost.Measure(new SampleFleet(hosts, devices), devices);
            Write($"{hosts,8}{cost.Claims,10}{cost.Moves,8}{cost.CpuMs,12:F1}{cost.CpuMs / cost.Moves,12:F3}");
        }

        return 0;
    }

    private static void Write(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
