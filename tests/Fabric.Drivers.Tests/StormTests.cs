using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests;

/// <summary>By itself: it takes what processors there are.</summary>
[CollectionDefinition(nameof(StormTests), DisableParallelization = true)]
[Collection(nameof(StormTests))]
public sealed class StormTests() : TestKit("akka.loglevel = OFF\nakka.stdout-loglevel = OFF\nakka.log-dead-letters = off")
{
    private const int Well = 253;
    private const int Rounds = 20;
    private const int Errors = 20_000;
    private const int Crashes = 1000;

    /// <summary>Of the sick: recoveries, resets, restarts and quarantines within their budgets, and what the interval lets be told of errors.</summary>
    private const int MostEvents = 1000;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Devices_that_storm_hang_and_crash_are_out_of_service_for_a_reason_and_no_other_notices()
    {
        using var bus = new EmulatedBus(
            new EmulatedBusOptions(0, 0, StateBytes: 4096)
            {
                Cards =
                [
                    new(EmulatedModels.Accelerator, Well + 1), new(EmulatedModels.NoFlr), new(EmulatedModels.HungReset),
                ],
            }, TimeProvider.System);
        var (storming, crashing, hanging) = (bus.Functions[0].Address, bus.Functions[^2].Address, bus.Functions[^1].Address);
        ImmutableArray<PciAddress> sick = [storming, crashing, hanging];
        var events = new ConcurrentDictionary<PciAddress, int>();
        var quarantined = new Quarantined(sick);
        var host = Sys.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(CrashingDriver.Registration), [], static _ => null, TimeProvider.System)
        {
            // Long beside what the others need, short beside this test's patience.
            Devices = DeviceOptions.Default with { SlowCallDeadline = TimeSpan.FromSeconds(3), ErrorInterval = TimeSpan.FromMilliseconds(200) },
        }));
        var fronts = new Dictionary<PciAddress, IActorRef>();
        foreach (var function in bus.Functions)
            fronts[function.Address] = (await host.Ask<DeviceFound>(new FindDevice(function.Address), Patience, Cancelled)).Front;
        var sessions = new Dictionary<PciAddress, SessionId>();
        foreach (var (address, front) in fronts.Where(found => !sick.Contains(found.Key)))
            sessions[address] = (await front.Ask<DeviceOpened>(new OpenDevice("somebody", TestActor), Patience, Cancelled)).Session;
        var listener = Sys.ActorOf(Props.Create(() => new Listener(events, quarantined)));
        Sys.EventStream.Subscribe(listener, typeof(DeviceNoted));
        Sys.EventStream.Subscribe(listener, typeof(DeviceStatusChanged));

        // The storm.
        using var over = new CancellationTokenSource();
        var reported = 0;
        var errors = new Thread(() =>
        {
            for (; !over.IsCancellationRequested; reported++)
                bus.InjectAer(storming, (AerSeverity)(reported % 3));
        }) { IsBackground = true };
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);
        patience.CancelAfter(Patience);
        patience.Token.Register(over.Cancel);
        errors.Start();
        fronts[hanging].Tell(new OpenDevice("who hangs", TestActor), ActorRefs.Nobody);
        var crashed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Sys.ActorOf(Props.Create(() => new Insistent(fronts[crashing], Crashes, crashed)));

        // Everybody else's requests, as long as it lasts.
        var failures = new List<object>();
        var rounds = 0;
        var storm = Task.WhenAll(quarantined.All, crashed.Task);
        for (; !storm.IsCompleted || rounds < Rounds || Volatile.Read(ref reported) < Errors; rounds++)
        {
            patience.Token.ThrowIfCancellationRequested();
            var asked = sessions.Select(open => fronts[open.Key].Ask<object>(
                rounds % 2 == 0 ? new GetDeviceInfo(open.Value) : new ReadRegion(open.Value, RegionIndex.Bar0, 0, 4), Patience, Cancelled));
            failures.AddRange((await Task.WhenAll(asked)).Where(static reply => reply is not (DeviceInfoRead or RegionRead)));
        }

        await storm;
        await over.CancelAsync();
        errors.Join();
        // What has happened has passed supervisors, host and listener when these answer.
        foreach (var address in sick)
            await host.Ask<DeviceInspected>(new InspectDevice(address), Patience, Cancelled);
        await host.Ask<DeviceList>(ListDevices.Instance, Patience, Cancelled);
        await listener.Ask<ActorIdentity>(new Identify(0), Patience, Cancelled);
        var told = events.ToImmutableDictionary();
        Assert.Empty(failures);
        Assert.All(sessions.Keys, address => Assert.False(told.ContainsKey(address)));
        Assert.InRange(told.Values.Sum(), sick.Length, MostEvents);

        // What it leaves behind.
        var cameBack = quarantined.ComesBack(hanging);
        Assert.True(bus.Release(hanging).IsOk);
        await cameBack.WaitAsync(Patience, Cancelled);
        Assert.Equal(0, bus.HungCalls(hanging));
        foreach (var (address, session) in sessions)
            Assert.IsType<DeviceDone>(await fronts[address].Ask<object>(new CloseDevice(session), Patience, Cancelled));
        foreach (var function in bus.Functions)
        {
            var core = (await host.Ask<DeviceInspected>(new InspectDevice(function.Address), Patience, Cancelled)).State["core"]!;
            Assert.Empty(core["sessions"]!.Children);
            Assert.Equal((function.Address, "nothing"), (function.Address, core["busy with"]!.Value));
        }

        foreach (var status in (await host.Ask<DeviceList>(ListDevices.Instance, Patience, Cancelled)).Devices)
        {
            Assert.Equal(sick.Contains(status.Address) ? DeviceState.Quarantined : DeviceState.Closed, status.State);
            Assert.Equal(sick.Contains(status.Address), status.Reason is not null);
        }
    }

    /// <summary>A driver that fails at everything that it is asked.</summary>
    private sealed class CrashingDriver : VariantDriver
    {
        public CrashingDriver(DriverContext context)
            : base(context)
        {
            On<OpenDevice>(static _ => throw new InvalidOperationException("This driver crashes on every message."));
            On<GetDeviceInfo>(static _ => throw new InvalidOperationException("This driver crashes on every message."));
        }

        public static DriverRegistration Registration { get; } = new(
            "crashing", new PciIds(BenchIds.Vendor, BenchIds.NoFunctionLevelReset), null, context => Props.Create(() => new CrashingDriver(context)));
    }

    /// <summary>Asks again whatever the answer was, so many times.</summary>
    private sealed class Insistent(IActorRef front, int count, TaskCompletionSource done) : UntypedActor
    {
        private int asked;

        protected override void PreStart() => AskNext();

        protected override void OnReceive(object message) => AskNext();

        private void AskNext()
        {
            if (asked++ < count)
                front.Tell(asked % 2 == 0 ? new GetDeviceInfo(default) : new OpenDevice("who insists", Self));
            else
                done.TrySetResult();
        }
    }

    /// <summary>Devices that are waited for until they are out of service, and until what hung in them has come back.</summary>
    private sealed class Quarantined(ImmutableArray<PciAddress> devices)
    {
        private readonly ImmutableDictionary<PciAddress, TaskCompletionSource> left =
            devices.ToImmutableDictionary(static device => device, static _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

        private readonly ImmutableDictionary<PciAddress, TaskCompletionSource> back =
            devices.ToImmutableDictionary(static device => device, static _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

        public Task All => Task.WhenAll(left.Values.Select(static device => device.Task));

        public Task ComesBack(PciAddress device) => back[device].Task;

        public void See(object happened)
        {
            if (happened is DeviceStatusChanged { Status: { State: DeviceState.Quarantined } status } && left.TryGetValue(status.Address, out var gone))
                gone.TrySetResult();
            if (happened is DeviceNoted { Entry.Kind: "hang-ended" } noted && back.TryGetValue(noted.Address, out var returned))
                returned.TrySetResult();
        }
    }

    /// <summary>Counts what is published of each device.</summary>
    private sealed class Listener(ConcurrentDictionary<PciAddress, int> events, Quarantined quarantined) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            var address = message switch
            {
                DeviceNoted noted => noted.Address,
                DeviceStatusChanged changed => changed.Status.Address,
                _ => default,
            };
            events.AddOrUpdate(address, 1, static (_, count) => count + 1);
            quarantined.See(message);
        }
    }
}
