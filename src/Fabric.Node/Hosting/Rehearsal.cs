using System.Threading.Channels;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts;
using Fabric.Node.Consumers;

namespace Fabric.Node.Hosting;

/// <summary>
/// A migration between two functions that nobody else knows of, before a host takes part in a fabric: what runs while a workload stands is
/// compiled here, and not while the first one stands. On a busy machine that alone can take a downtime limit.
/// </summary>
internal sealed class Rehearsal : IAsyncDisposable
{
    private const string Claim = "rehearsal";
    private const string Source = "fab0:01:00.1";
    private const string Target = "fab0:01:00.2";
    private const int MemoryBytes = 1 << 20;
    private const int StepsPerSecond = 20_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly Channel<IHostReport> reports = Channel.CreateUnbounded<IHostReport>();
    private readonly EmulatedBus bus;
    private readonly DataPlaneListener listener;
    private readonly ActorSystem system;
    private readonly IActorRef source;
    private readonly IActorRef target;

    private Rehearsal(ILoggerFactory loggers, TimeProvider time)
    {
        bus = new EmulatedBus(new EmulatedBusOptions(1, 2, AcceleratorState.Granule), time);
        listener = new DataPlaneListener(loggers.CreateLogger("Rehearsal"));
        system = ActorSystem.Create("rehearsal", "akka { loglevel = OFF, stdout-loglevel = OFF }");
        var devices = system.ActorOf(
            HostActor.Props(new Fabric.Devices.HostOptions(
                bus, HostDrivers.Without([]), [], function => (function as AcceleratorVirtualFunction)?.StateBytes, time)),
            "host");
        var consumers = new GuestFactory(time);
        var heard = system.ActorOf(Props.Create(() => new Uplink(reports.Writer)), "uplink");
        source = system.ActorOf(AttachmentsActor.Props("source", devices, consumers, listener, time), "source");
        target = system.ActorOf(AttachmentsActor.Props("target", devices, consumers, listener, time), "target");
        foreach (var end in new[] { source, target })
            end.Tell(new UplinkConnected(heard));
    }

    /// <returns>Null, or why it did not come to its end: the host can be used all the same.</returns>
    public static async Task<string?> RunAsync(ILoggerFactory loggers, TimeProvider time)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        await using var rehearsal = new Rehearsal(loggers, time);
        try
        {
            await rehearsal.PlayAsync(limit.Token);
            return null;
        }
        catch (RehearsalFailed failed)
        {
            return failed.Message;
        }
        catch (OperationCanceledException)
        {
            return $"it did not end within {Limit.TotalSeconds:0} s";
        }
    }

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        await listener.DisposeAsync();
        bus.Dispose();
    }

    /// <summary>There, and once more, given up after the stop.</summary>
    private async Task PlayAsync(CancellationToken cancellation)
    {
        source.Tell(new Attach(Claim, 1, [Source], MemoryBytes, StepsPerSecond));
        await HearAsync<Attached>(cancellation);
        await StopAsync(generation: 2, migration: 1, cancellation);
        source.Tell(new ResumeSource(Claim, 2, Source, 1));
        await HearAsync<SourceRunning>(cancellation);
        target.Tell(new Detach(Claim, 2, Target));
        await HearAsync<Detached>(cancellation);
        await StopAsync(generation: 3, migration: 2, cancellation);
        target.Tell(new RunTarget(Claim, 3, Target, 2));
        await HearAsync<TargetRunning>(cancellation);
        source.Tell(new Detach(Claim, 3, Source));
        await HearAsync<Detached>(cancellation);
        target.Tell(new Detach(Claim, 4, Target));
        await HearAsync<Detached>(cancellation);
    }

    private async Task StopAsync(long generation, int migration, CancellationToken cancellation)
    {
        target.Tell(new PrepareTarget(Claim, generation, migration, [Target], MemoryBytes, StepsPerSecond));
        var prepared = await HearAsync<TargetPrepared>(cancellation);
        source.Tell(new StartPreCopy(Claim, generation, Source, migration, prepared.Endpoint, prepared.Token, BandwidthLimit: 0));
        while (await HearAsync<PreCopyProgress>(cancellation) is not { RoundEnded: true, Rounds: >= 2 })
        {
            // The second round is the first of what the device wrote meanwhile.
        }

        target.Tell(new StopAndCopy(Claim, generation, Target, migration));
        source.Tell(new StopAndCopy(Claim, generation, Source, migration));
        // Either end may tell first.
        if (await HearAsync(report => report is SourceStopped or TargetLoaded, cancellation) is SourceStopped)
            await HearAsync<TargetLoaded>(cancellation);
        else
            await HearAsync<SourceStopped>(cancellation);
    }

    private async Task<T> HearAsync<T>(CancellationToken cancellation)
        where T : class, IHostReport => (T)await HearAsync(report => report is T, cancellation);

    private async Task<IHostReport> HearAsync(Func<IHostReport, bool> wanted, CancellationToken cancellation)
    {
        while (true)
        {
            var report = await reports.Reader.ReadAsync(cancellation);
            if (report is CommandFailed failed)
                throw new RehearsalFailed($"{failed.Command} failed: {failed.Reason}");
            if (wanted(report))
                return report;
        }
    }

    private sealed class RehearsalFailed(string message) : Exception(message);

    private sealed class Uplink(ChannelWriter<IHostReport> reports) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            if (message is IHostReport report)
                reports.TryWrite(report);
        }
    }
}
