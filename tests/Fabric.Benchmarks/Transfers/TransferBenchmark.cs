using System.Diagnostics;
using System.Globalization;

namespace Fabric.Benchmarks.Transfers;

/// <summary>
/// How fast the data plane carries state, beside a plain copy of the same state over the same loopback; and what memory it takes, whatever
/// the size of the state. Every carrier reads each byte from the source's memory and writes it to the target's.
/// </summary>
internal static class TransferBenchmark
{
    private const double Target = 0.9;

    /// <summary>More of this would grow with the state.</summary>
    private const long MemoryTarget = 32 << 20;

    /// <param name="args">--rounds N, --mebibytes N of each transfer, --memory-gibibytes N of the larger state</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var rounds = Arguments.Number(args, "--rounds", 7);
        var bytes = (long)Arguments.Number(args, "--mebibytes", 1024) << 20;
        var large = (long)Arguments.Number(args, "--memory-gibibytes", 8) << 30;
        using var certificates = new Certificates();
        var (source, target) = (new StateMemory(seed: 1), new StateMemory(seed: 2));
        var met = true;
        foreach (var streams in new[] { 1, 2 })
        {
            met &= await CompareAsync(
                $"{streams} stream(s), in the clear", source, target, bytes, streams, rounds,
                new PlainCarrier("plain socket copy", null, inPlace: false),
                new BlockingCarrier("blocking socket copy", null),
                new DataPlaneCarrier("data plane", null),
                new PlainCarrier("socket copy in place", null, inPlace: true));
            met &= await CompareAsync(
                $"{streams} stream(s), TLS", source, target, bytes, streams, rounds,
                new PlainCarrier("plain SslStream copy", certificates, inPlace: false),
                new BlockingCarrier("blocking SslStream copy", certificates),
                new DataPlaneCarrier("data plane, TLS", certificates),
                new PlainCarrier("SslStream copy in place", certificates, inPlace: true));
        }

        Console.WriteLine();
        Console.WriteLine($"{"memory of a migration",-28}{"peak above rest",18}{"allocated",14}");
        foreach (var size in new[] { 1L << 30, large })
            met &= await MeasureMemoryAsync(source, target, size);
        Console.WriteLine($"Target: at most {MemoryTarget >> 20} MiB each, whatever the size.");
        return met ? 0 : 1;
    }

    /// <summary>
    /// The third contender is held against the better of the first two, each by its median of all rounds; each round begins with another one.
    /// </summary>
    private static async Task<bool> CompareAsync(
        string title, StateMemory source, StateMemory target, long bytes, int streams, int rounds, params Carrier[] carriers)
    {
        using var process = Process.GetCurrentProcess();
        var rates = carriers.Select(_ => new double[rounds]).ToArray();
        var costs = carriers.Select(_ => new double[rounds]).ToArray();
        for (var round = -1; round < rounds; round++)
        {
            for (var i = 0; i < carriers.Length; i++)
            {
                var which = (round + 1 + i) % carriers.Length;
                process.Refresh();
                var (began, used) = (Stopwatch.GetTimestamp(), process.TotalProcessorTime);
                await carriers[which].CarryAsync(source, target, bytes, streams);

                // The first round is for the compiler.
                if (round < 0)
                    continue;
                rates[which][round] = bytes / Stopwatch.GetElapsedTime(began).TotalSeconds / (1 << 30);
                process.Refresh();
                costs[which][round] = (process.TotalProcessorTime - used).TotalSeconds * (1 << 30) / bytes;
            }
        }

        var best = Median(rates[0]) >= Median(rates[1]) ? 0 : 1;
        var met = Median(Ratios(rates[2], rates[best])) >= Target;
        Console.WriteLine();
        Console.WriteLine($"{title} ({rounds} rounds of {bytes >> 20} MiB; medians; beside {carriers[best].Name})");
        Console.WriteLine($"{"",-28}{"GiB/s",8}{"ratio",8}{"range",14}{"CPU s/GiB",12}{"ratio",8}");
        for (var which = 0; which < carriers.Length; which++)
        {
            var ratios = Ratios(rates[which], rates[best]);
            var verdict = which != 2 ? "" : met ? "  met" : "  MISSED";
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{carriers[which].Name,-28}{Median(rates[which]),8:F2}{Median(ratios),8:F2}{$"{ratios.Min():F2}..{ratios.Max():F2}",14}")
                + string.Create(CultureInfo.InvariantCulture, $"{Median(costs[which]),12:F2}{Median(Ratios(costs[best], costs[which])),8:F2}{verdict}"));
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Target: the data plane at least {Target:F1} times the better baseline."));
        return met;
    }

    private static async Task<bool> MeasureMemoryAsync(StateMemory source, StateMemory target, long size)
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        using var process = Process.GetCurrentProcess();
        var rest = process.WorkingSet64;
        var allocated = GC.GetTotalAllocatedBytes(precise: true);
        var peak = 0L;
        var carrying = new DataPlaneCarrier("data plane", null).CarryAsync(source, target, size, streams: 1);
        while (!carrying.IsCompleted)
        {
            process.Refresh();
            peak = Math.Max(peak, process.WorkingSet64 - rest);
            await Task.WhenAny(carrying, Task.Delay(20));
        }

        await carrying;
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        var met = peak <= MemoryTarget && allocated <= MemoryTarget;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{$"state of {size >> 30} GiB",-28}{$"{peak / (double)(1 << 20):F1} MiB",18}{$"{allocated / (double)(1 << 20):F1} MiB",14}  {(met ? "met" : "MISSED")}"));
        return met;
    }

    private static double[] Ratios(double[] these, double[] those) => [.. these.Zip(those, static (one, other) => one / other)];

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
