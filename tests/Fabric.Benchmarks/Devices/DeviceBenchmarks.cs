using Akka.Actor;
using Fabric.Devices;
using Fabric.Vfio.Uapi;

namespace Fabric.Benchmarks.Devices;

/// <summary>
/// What a request to a device costs beside the least that it could: an empty actor behind one forwarding actor. Both are measured in turn
/// within each round, and the ratio is taken of each round: on a machine whose speed changes from second to second it is the only figure
/// that says something.
/// </summary>
internal static class DeviceBenchmarks
{
    private const double LatencyTarget = 1.5;
    private const double ThroughputTarget = 0.5;
    private const int Window = 100;

    /// <param name="args">--rounds N</param>
    public static async Task<int> RunAsync(string[] args)
    {
        var rounds = Arguments.Number(args, "--rounds", 21);
        using var system = BenchHost.System();
        var host = BenchHost.Start(system, new QuietBus(new RegisterFile()));
        var (front, session) = await OpenAsync(host, system.ActorOf(Props.Create<EmptyActor>()));
        var empty = system.ActorOf(Props.Create<EmptyActor>());
        var forwarding = system.ActorOf(Props.Create(() => new ForwardingActor(empty)));
        Contender baseline = new("empty actor behind one forwarding actor", forwarding, () => new Nothing());
        Contender[] requests =
        [
            new("GET_INFO", front, () => new GetDeviceInfo(session)),
            new("BAR0 read of 4 bytes", front, () => new ReadRegion(session, RegionIndex.Bar0, 0x10, 4)),
            new("config read of 4 bytes", front, () => new ReadRegion(session, RegionIndex.Config, 0x04, 4)),
        ];

        var latency = await Comparison.RunAsync(baseline, requests, rounds, contender => Sequential.MeasureAsync(contender, 20_000));
        latency.Print("Latency of an Ask, one after the other", LatencyTarget, isCeiling: true);
        var requester = system.ActorOf(Props.Create<WindowActor>());
        var throughput = await Comparison.RunAsync(
            baseline, requests, rounds, contender => WindowActor.MeasureAsync(requester, contender, 100_000, Window));
        throughput.Print($"Throughput with {Window} requests under way", ThroughputTarget, isCeiling: false);
        await system.Terminate();
        return latency.Meets(LatencyTarget, isCeiling: true) && throughput.Meets(ThroughputTarget, isCeiling: false) ? 0 : 1;
    }

    /// <summary>As any holder does it: by the host, then at the front.</summary>
    private static async Task<(IActorRef Front, SessionId Session)> OpenAsync(IActorRef host, IActorRef consumer)
    {
        var found = await host.Ask<object>(new FindDevice(new RegisterFile().Address), TimeSpan.FromSeconds(10)) as DeviceFound
            ?? throw new InvalidOperationException("The host does not find its device.");
        var opened = await found.Front.Ask<object>(new OpenDevice("benchmark", consumer), TimeSpan.FromSeconds(10)) as DeviceOpened
            ?? throw new InvalidOperationException("The device does not open.");
        return (found.Front, opened.Session);
    }
}
