using System.Diagnostics;
using System.Globalization;
using System.Runtime;
using Akka.Actor;
using Fabric.Vfio.Core;

namespace Fabric.Benchmarks.Hosts;

/// <summary>
/// A host with very many functions: how fast it probes them, and what an idle one costs. A device is probed when it answers: a request goes
/// to every one of them through its own chain, and comes back.
/// </summary>
internal static class HostBenchmarks
{
    private const int TargetBytes = 8 * 1024;

    /// <param name="args">--functions N</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var count = Arguments.Number(args, "--functions", 100_000);
        using var system = BenchHost.System();
        await ProbeAsync(system, "warm-up", Functions(100));

        var core = CoreBytes(Math.Min(count, 10_000));
        var bare = Settled();
        var functions = Functions(count);
        var stored = Settled();
        var began = Stopwatch.GetTimestamp();
        var host = await ProbeAsync(system, "measured", functions);
        var took = Stopwatch.GetElapsedTime(began);
        var probed = Settled();
        GC.KeepAlive(host);
        GC.KeepAlive(functions);

        var device = ((double)(probed - bare) / count) - IdleFunction.ConfigBytes;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            Functions                                          {count,12:N0}
            Probed and answering, s                            {took.TotalSeconds,12:F2}
            Probe rate, functions/s                            {count / took.TotalSeconds,12:N0}
            Config space that a function stores, bytes         {IdleFunction.ConfigBytes,12:N0}
            The function's other objects, bytes                {((double)(stored - bare) / count) - IdleFunction.ConfigBytes,12:N0}
            Idle device in all but its config space, bytes     {device,12:N0}  target {TargetBytes:N0}: {(device <= TargetBytes ? "met" : "MISSED")}
            Of it: its core, registered alone, bytes           {core,12:N0}
            Managed memory of the process, MiB                 {probed / 1024.0 / 1024.0,12:N0}
            """));
        await system.Terminate();
        return device <= TargetBytes ? 0 : 1;
    }

    /// <summary>What the core of one sleeping function keeps, without actors and without the function.</summary>
    private static double CoreBytes(int count)
    {
        var functions = Functions(count);
        var before = Settled();
        var cores = Array.ConvertAll(functions, static function => VfioPciCore.Register(function).Value);
        var after = Settled();
        GC.KeepAlive(cores);
        return (double)(after - before) / count;
    }

    private static IdleFunction[] Functions(int count) => [.. Enumerable.Range(0, count).Select(static i => new IdleFunction(i))];

    private static async Task<IActorRef> ProbeAsync(ActorSystem system, string name, IdleFunction[] functions)
    {
        var host = BenchHost.Start(system, new QuietBus(functions), name);
        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var addresses = Array.ConvertAll(functions, static function => function.Address);
        var roll = system.ActorOf(Props.Create(() => new RollCall(host, addresses, answered)));
        await answered.Task;
        await roll.GracefulStop(TimeSpan.FromSeconds(10));
        return host;
    }

    /// <summary>Bytes that live, when all that does not is gone.</summary>
    private static long Settled()
    {
        GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
        for (var i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return GC.GetTotalMemory(forceFullCollection: true);
    }
}
