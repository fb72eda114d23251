using System.Globalization;

namespace Fabric.Benchmarks.Devices;

/// <summary>A baseline and what is held against it, measured in turn in each of several rounds.</summary>
internal sealed class Comparison
{
    private readonly Contender[] contenders;
    private readonly List<Measured[]> rounds = [];

    private Comparison(Contender[] contenders) => this.contenders = contenders;

    /// <summary>The first round is for the compiler, and counts for nothing. Each round begins with another contender.</summary>
    public static async Task<Comparison> RunAsync(
        Contender baseline, IReadOnlyList<Contender> others, int count, Func<Contender, Task<Measured>> measure)
    {
        var comparison = new Comparison([baseline, .. others]);
        for (var round = 0; round <= count; round++)
        {
            var measured = new Measured[comparison.contenders.Length];
            for (var i = 0; i < measured.Length; i++)
            {
                var which = (round + i) % measured.Length;
                measured[which] = await measure(comparison.contenders[which]).ConfigureAwait(false);
            }

            if (round > 0)
                comparison.rounds.Add(measured);
        }

        return comparison;
    }

    /// <summary>Whether the median ratio of each contender is on the right side.</summary>
    public bool Meets(double target, bool isCeiling) =>
        Enumerable.Range(1, contenders.Length - 1).All(which => Meets(Median(Ratios(which, isCeiling)), target, isCeiling));

    public void Print(string title, double target, bool isCeiling)
    {
        Console.WriteLine();
        Console.WriteLine($"{title} ({rounds.Count} rounds; medians)");
        Console.WriteLine($"{"",-42}{"ns",8}{"bytes",8}{"ratio",8}{"range",16}");
        for (var which = 0; which < contenders.Length; which++)
        {
            var ratios = Ratios(which, isCeiling);
            var line = string.Create(
                CultureInfo.InvariantCulture,
                $"{contenders[which].Name,-42}{Median(Column(which, measured => measured.Nanoseconds)),8:F0}{Median(Column(which, measured => measured.Bytes)),8:F0}");
            Console.WriteLine(which == 0 ? line : string.Create(
                CultureInfo.InvariantCulture,
                $"{line}{Median(ratios),8:F2}{$"{ratios.Min():F2}..{ratios.Max():F2}",16}  {(Meets(Median(ratios), target, isCeiling) ? "met" : "MISSED")}"));
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Target: a ratio of {(isCeiling ? "at most" : "at least")} {target:F1}."));
    }

    private static bool Meets(double ratio, double target, bool isCeiling) => isCeiling ? ratio <= target : ratio >= target;

    /// <summary>Of times where less is better; else of rates, which are times the other way up.</summary>
    private double[] Ratios(int which, bool ofTimes) =>
        [.. rounds.Select(round => ofTimes ? round[which].Nanoseconds / round[0].Nanoseconds : round[0].Nanoseconds / round[which].Nanoseconds)];

    private double[] Column(int which, Func<Measured, double> value) => [.. rounds.Select(round => value(round[which]))];

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
