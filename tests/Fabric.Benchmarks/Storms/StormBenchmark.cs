using System.Diagnostics;
using System.Globalization;
using Akka.Actor;
using Fabric.Benchmarks.Devices;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Vfio.Uapi;

namespace Fabric.Benchmarks.Storms;

/// <summary>
/// What sick devices cost healthy ones: 256 on one host, three of them sick. Quiet and stormy periods take turns, and the ratio is taken of two
/// that follow each other. In both the healthy are asked one after the other.
/// </summary>
internal static class StormBenchmark
{
    private const double Target = 2;
    private const int Well = 253;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private sealed record Round(Percentiles Quiet, Percentiles Storm, double Errors, long Events)
    {
        public double Ratio => Storm.P99 / Quiet.P99;
    }

    /// <summary>Round trips, microseconds.</summary>
    private readonly record struct Percentiles(double P50, double P99, int Count)
    {
        public static Percentiles Of(List<double> trips)
        {
            trips.Sort();
            return new Percentiles(trips[trips.Count / 2], trips[(int)(trips.Count * 0.99)], trips.Count);
        }
    }

    /// <param name="args">--rounds N, --seconds N of each period</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var rounds = Arguments.Number(args, "--rounds", 9);
        var period = TimeSpan.FromSeconds(Arguments.Number(args, "--seconds", 2));
        using var bus = new EmulatedBus(
            new EmulatedBusOptions(0, 0, StateBytes: 4096) { Cards = [new(EmulatedModels.Accelerator, Well), .. Storm.Cards] }, TimeProvider.System);
        using var system = BenchHost.System();
        var host = BenchHost.Start(
            system, bus, drivers: new DriverCatalog(CrashingDriver.Registration),
            // A hang is told of, and the device taken out of service, within the period.
            devices: DeviceOptions.Default with { SlowCallDeadline = period / 2 });
        var fronts = new List<IActorRef>();
        foreach (var function in bus.Functions)
            fronts.Add((await AskAsync<DeviceFound>(host, new FindDevice(function.Address))).Front);
        var consumer = system.ActorOf(Props.Create<EmptyActor>());
        var open = new List<(IActorRef Front, SessionId Session)>();
        foreach (var front in fronts[..Well])
            open.Add((front, (await AskAsync<DeviceOpened>(front, new OpenDevice("benchmark", consumer))).Session));
        var events = new EventCount();
        var counter = system.ActorOf(Props.Create(() => new EventCounter(events)));
        system.EventStream.Subscribe(counter, typeof(DeviceNoted));
        system.EventStream.Subscribe(counter, typeof(DeviceStatusChanged));

        var measured = new List<Round>();
        Console.WriteLine($"{"",-10}{"quiet, us",20}{"storm, us",20}");
        Console.WriteLine($"{"round",-10}{"p50",10}{"p99",10}{"p50",10}{"p99",10}{"ratio",8}{"errors/s",12}{"events",8}");
        for (var round = 0; round <= rounds; round++)
        {
            var quiet = await MeasureAsync(open, period);
            using var storm = new Storm(bus, host, [.. fronts], consumer);
            var before = events.Value;
            storm.Begin();
            var stormy = await MeasureAsync(open, period);
            var (errors, told) = (storm.Errors / period.TotalSeconds, events.Value - before);
            await storm.EndAsync();
            var result = new Round(quiet, stormy, errors, told);
            // The first is for the compiler.
            if (round > 0)
                measured.Add(result);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{(round == 0 ? "warm-up" : round),-10}{quiet.P50,10:F1}{quiet.P99,10:F1}{stormy.P50,10:F1}{stormy.P99,10:F1}") +
                string.Create(CultureInfo.InvariantCulture, $"{result.Ratio,8:F2}{errors,12:N0}{told,8:N0}"));
        }

        var ratios = measured.Select(static round => round.Ratio).Order().ToArray();
        var ratio = ratios[ratios.Length / 2];
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Ratio of the 99th percentiles, median: {ratio:F2} ({ratios[0]:F2}..{ratios[^1]:F2}). Target: at most {Target:F1}, {(ratio <= Target ? "met" : "MISSED")}."));
        await system.Terminate();
        return ratio <= Target ? 0 : 1;
    }

    private static async Task<Percentiles> MeasureAsync(List<(IActorRef Front, SessionId Session)> open, TimeSpan period)
    {
        var trips = new List<double>(1 << 20);
        var began = Stopwatch.GetTimestamp();
        for (var next = 0; Stopwatch.GetElapsedTime(began) < period; next = (next + 1) % open.Count)
        {
            var (front, session) = open[next];
            var asked = Stopwatch.GetTimestamp();
            Contender.Check(await front.Ask<object>(new ReadRegion(session, RegionIndex.Bar0, 0, sizeof(uint)), Patience).ConfigureAwait(false));
            trips.Add(Stopwatch.GetElapsedTime(asked).TotalMicroseconds);
        }

        return Percentiles.Of(trips);
    }

    private static async Task<T> AskAsync<T>(IActorRef asked, object request)
        where T : class => await asked.Ask<object>(request, Patience) as T ?? throw new InvalidOperationException($"{request} was refused.");
}
