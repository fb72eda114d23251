using System.Diagnostics;
using System.Globalization;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Hardware.Emulated;
using Fabric.Vfio.Migration;
using Fabric.VfioUser.Server;

namespace Fabric.Benchmarks.VfioUser;

/// <summary>
/// What a client waits for at our server, and at another one where its socket is given: register accesses and migration data, by the same client, in
/// turn within each round. What our server allocates for a message is counted in this process, over the fastest function that there is.
/// </summary>
internal static class VfioUserBenchmark
{
    private const string PeerVariable = "FABRIC_BENCH_VFIO_USER";
    private const ulong Register = 0x80;
    private const int ReadChunk = 256 << 10;

    /// <summary>A larger one the C library does not always receive whole.</summary>
    private const int WriteChunk = 16 << 10;
    private const double MedianTarget = 1.5;
    private const double TailTarget = 2;
    private const double DataTarget = 0.9;

    /// <param name="args">--rounds N, --accesses N of each kind a round; --peer PATH, the socket of another server</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var (rounds, accesses) = (Arguments.Number(args, "--rounds", 7), Arguments.Number(args, "--accesses", 20_000));
        var met = await AllocatesNothingAsync(accesses);
        // The other one first: it is the baseline.
        var peer = Peer(args);
        var registers = Compare(peer, EmulatedModels.MultiFunction, rounds, client => Accesses.Measure(client, accesses, Register));
        met &= Report("read of 4 bytes, median", "us", registers, static measured => measured.ReadMedian, MedianTarget, isCeiling: true);
        met &= Report("read of 4 bytes, 99 %", "us", registers, static measured => measured.ReadTail, TailTarget, isCeiling: true);
        met &= Report("write of 4 bytes, median", "us", registers, static measured => measured.WriteMedian, MedianTarget, isCeiling: true);
        met &= Report("write of 4 bytes, 99 %", "us", registers, static measured => measured.WriteTail, TailTarget, isCeiling: true);
        var data = Compare(peer, EmulatedModels.Accelerator, rounds, Streams.Measure);
        met &= Report("migration data, saving", "MiB/s", data, static measured => measured.Saving, DataTarget, isCeiling: false);
        met &= Report("migration data, loading", "MiB/s", data, static measured => measured.Loading, DataTarget, isCeiling: false);
        return met ? 0 : 1;
    }

    private static string? Peer(string[] args)
    {
        var at = Array.IndexOf(args, "--peer");
        return at >= 0 && at + 1 < args.Length ? args[at + 1] : Environment.GetEnvironmentVariable(PeerVariable);
    }

    /// <summary>Each round: ours, then the peer's or the other way round. The first is for the compiler.</summary>
    private static List<(T Ours, T? Peers)> Compare<T>(string? peer, string model, int rounds, Func<Client, T> measure)
        where T : class
    {
        using var served = new ServedProcess(model);
        var measured = new List<(T, T?)>();
        for (var round = 0; round <= rounds; round++)
        {
            var first = peer is not null && round % 2 == 0 ? Once(peer, measure) : null;
            var ours = Once(served.Path, measure);
            var peers = first ?? (peer is null ? null : Once(peer, measure));
            if (round > 0)
                measured.Add((ours, peers));
        }

        return measured;
    }

    private static T Once<T>(string path, Func<Client, T> measure)
    {
        using var client = new Client(path);
        return measure(client);
    }

    private static bool Report<T>(string what, string unit, List<(T Ours, T? Peers)> rounds, Func<T, double> value, double target, bool isCeiling)
        where T : class
    {
        var line = string.Create(CultureInfo.InvariantCulture, $"{what,-28}{Median(rounds.Select(round => value(round.Ours))),10:F1} {unit}");
        if (rounds[0].Peers is null)
        {
            Console.WriteLine(line);
            return true;
        }

        var ratios = rounds.Select(round => value(round.Ours) / value(round.Peers!)).Order().ToArray();
        var isMet = isCeiling ? Median(ratios) <= target : Median(ratios) >= target;
        var bound = isCeiling ? "at most" : "at least";
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{line}, the peer {Median(rounds.Select(round => value(round.Peers!))):F1}: ratio {Median(ratios):F2} ")
            + string.Create(
                CultureInfo.InvariantCulture,
                $"({ratios[0]:F2}..{ratios[^1]:F2}), {bound} {target:F1}  {(isMet ? "met" : "MISSED")}"));
        return isMet;
    }

    /// <summary>Server, actors and client in this process; the client allocates nothing.</summary>
    private static async Task<bool> AllocatesNothingAsync(int accesses)
    {
        using var system = BenchHost.System();
        var function = new RegisterFile();
        var host = BenchHost.Start(system, new QuietBus(function));
        var found = (DeviceFound)await host.Ask<object>(new FindDevice(function.Address), TimeSpan.FromSeconds(10));
        var folder = Directory.CreateTempSubdirectory("vu");
        double bytes;
        await using (var server = (await VfioUserServer.StartAsync(system, found.Front, Path.Combine(folder.FullName, "s"))).Value)
        {
            using var client = new Client(server.Path);
            Accesses.Measure(client, accesses, Register);
            var before = GC.GetTotalAllocatedBytes(precise: true);
            var region = client.FindBar();
            for (var access = 0; access < accesses; access++)
                client.Write(region, Register, client.Read(region, Register));
            bytes = (GC.GetTotalAllocatedBytes(precise: true) - before) / (2.0 * accesses);
        }

        folder.Delete(recursive: true);
        await system.Terminate();
        var isMet = bytes < 1;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{"allocated for a message",-28}{bytes,10:F1} bytes, none wanted  {(isMet ? "met" : "MISSED")}"));
        return isMet;
    }

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Round trips, in microseconds.</summary>
    private sealed record Accesses(double ReadMedian, double ReadTail, double WriteMedian, double WriteTail)
    {
        public static Accesses Measure(Client client, int count, ulong offset)
        {
            var region = client.FindBar();
            var value = client.Read(region, offset);
            var reads = Times(count, () => client.Read(region, offset));
            var writes = Times(count, () => client.Write(region, offset, value));
            return new Accesses(reads[count / 2], reads[count * 99 / 100], writes[count / 2], writes[count * 99 / 100]);
        }

        private static double[] Times(int count, Action access)
        {
            var times = new double[count];
            for (var at = 0; at < count; at++)
            {
                var began = Stopwatch.GetTimestamp();
                access();
                times[at] = Stopwatch.GetElapsedTime(began).TotalMicroseconds;
            }

            Array.Sort(times);
            return times;
        }
    }

    /// <summary>A device's state, saved and loaded again; MiB a second.</summary>
    private sealed record Streams(double Saving, double Loading)
    {
        /// <summary>Twice: a device that was just reset makes its memory at the first pass, and that is not the server's doing.</summary>
        public static Streams Measure(Client client)
        {
            _ = Pass(client);
            return Pass(client);
        }

        private static Streams Pass(Client client)
        {
            client.SetState(MigrationState.StopCopy);
            var (saved, buffer) = (new MemoryStream(), new byte[ReadChunk]);
            var spent = TimeSpan.Zero;
            for (var length = ReadChunk; length == ReadChunk;)
            {
                var began = Stopwatch.GetTimestamp();
                length = client.ReadData(buffer);
                spent += Stopwatch.GetElapsedTime(began);
                saved.Write(buffer, 0, length);
            }

            client.SetState(MigrationState.Stop);
            client.SetState(MigrationState.Resuming);
            var state = saved.GetBuffer().AsSpan(0, (int)saved.Length);
            var started = Stopwatch.GetTimestamp();
            for (var at = 0; at < state.Length; at += WriteChunk)
                client.WriteData(state[at..Math.Min(state.Length, at + WriteChunk)]);
            var loading = Stopwatch.GetElapsedTime(started);
            client.SetState(MigrationState.Stop);
            client.SetState(MigrationState.Running);
            var mebibytes = state.Length / (double)(1 << 20);
            return new Streams(mebibytes / spent.TotalSeconds, mebibytes / loading.TotalSeconds);
        }
    }
}
