using System.Diagnostics;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Benchmarks.Storms;

/// <summary>A driver that fails at everything that it is asked.</summary>
internal sealed class CrashingDriver : VariantDriver
{
    public CrashingDriver(DriverContext context)
        : base(context) => On<OpenDevice>(static _ => throw new InvalidOperationException("This driver crashes on every message."));

    public static DriverRegistration Registration { get; } = new(
        "crashing", new PciIds(BenchIds.Vendor, BenchIds.NoFunctionLevelReset), null, context => Props.Create(() => new CrashingDriver(context)));
}

/// <summary>Counts what a host publishes.</summary>
internal sealed class EventCounter(EventCount count) : UntypedActor
{
    protected override void OnReceive(object message) => count.Value++;
}

internal sealed class EventCount
{
    public long Value { get; set; }
}

/// <summary>
/// Three sick devices: one throws errors as fast as a thread can report them, one hangs in the reset that its open makes, one is asked a
/// thousand times a second and crashes at it, until it is in quarantine and refuses.
/// </summary>
internal sealed class Storm(EmulatedBus bus, IActorRef host, IActorRef[] fronts, IActorRef consumer) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly CancellationTokenSource over = new();
    private Thread? hardware;
    private Task asking = Task.CompletedTask;

    public static EmulatedCard[] Cards { get; } = [new(EmulatedModels.Accelerator), new(EmulatedModels.NoFlr), new(EmulatedModels.HungReset)];

    public long Errors { get; private set; }

    private PciAddress Throwing => bus.Functions[^3].Address;

    private PciAddress Crashing => bus.Functions[^2].Address;

    private PciAddress Hanging => bus.Functions[^1].Address;

    public void Begin()
    {
        bus.Hang(Hanging, HangPoint.Reset);
        fronts[^1].Tell(new OpenDevice("who hangs", consumer), ActorRefs.NoSender);
        hardware = new Thread(() =>
        {
            while (!over.IsCancellationRequested)
                bus.InjectAer(Throwing, (AerSeverity)(Errors++ % 3));
        });
        hardware.Start();
        asking = AskAsync();
    }

    /// <summary>The sick are put back into service, for the next storm.</summary>
    public async Task EndAsync()
    {
        await over.CancelAsync();
        hardware!.Join();
        await asking;
        bus.Release(Hanging);
        foreach (var address in (PciAddress[])[Throwing, Crashing, Hanging])
            await PutBackAsync(address);
    }

    public void Dispose() => over.Dispose();

    private async Task AskAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        while (!over.IsCancellationRequested)
        {
            fronts[^2].Tell(new OpenDevice("who crashes it", consumer), ActorRefs.NoSender);
            await timer.WaitForNextTickAsync();
        }
    }

    /// <summary>Until what is under way in it is over.</summary>
    private async Task PutBackAsync(PciAddress address)
    {
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < Patience)
        {
            if (await host.Ask<object>(new UnquarantineDevice(address, "benchmark"), Patience) is HostDone)
                return;
            if (await host.Ask<object>(new FindDevice(address), Patience) is DeviceFound { Status.State: DeviceState.Closed })
                return;
            await Task.Delay(50);
        }

        throw new InvalidOperationException($"{address} did not come back into service: {await host.Ask<object>(new FindDevice(address), Patience)}");
    }
}
