using Akka.Actor;
using Akka.Configuration;
using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Devices.Tests;

/// <summary>Actors whose timers go off when a test says so, and a clock in the hand.</summary>
public abstract class DeviceTest(Config? more = null) : TestKit((more ?? ConfigurationFactory.Empty).WithFallback(Config))
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private static Config Config { get; } = ConfigurationFactory.ParseString(
        """
        akka.scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit"
        akka.loglevel = OFF
        akka.test.single-expect-default = 15s
        akka.test.default-timeout = 15s
        """);

    protected FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    protected static AerRecord AnError { get; } = new(new PciAddress(0, 0x3b, 0, 2), AerSeverity.NonFatal, 0x40_0000);

    protected TestScheduler Timers => (TestScheduler)Sys.Scheduler;

    internal LaneThreads Threads { get; } = new();

    /// <summary>The core of a function by itself: what its host would do for it, an IOMMU group does.</summary>
    internal Props CoreOf(IPciFunction function, long firstSession = 100, DeviceOptions? options = null) => VfioPciCoreActor.Props(new CoreContext(
        function, new VfioPciDevices(callersTakeTurns: true), "vfio-pci", options ?? DeviceOptions.Default, Threads, Time, new CoreSlot(firstSession),
        Sys.ActorOf(IommuGroupActor.Props(7)), ActorRefs.Nobody));

    protected static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    /// <summary>A function's status before its supervisor has said anything.</summary>
    internal static DeviceStatus StatusOf(FakeFunction function, DriverRegistration? driver) => new(
        function.Address, function.Ids, driver?.Model, Physical: false, driver?.Name, DeviceState.Closed, DeviceHealth.Healthy,
        Migration: driver is null ? null : MigrationState.Running, Holder: null, StateBytes: null, IommuGroup: null, PhysicalFunction: null,
        ResetMethods: []);

    internal static DriverRegistration Scripted(Action<ScriptedDriver> script) => new(
        "scripted", new PciIds(FakeFunction.HardwareVendor, FakeFunction.HardwareDevice), "scripted-vf", context => ScriptedDriver.Props(context, script));

    protected static async Task<T> AskAsync<T>(IActorRef device, object request) =>
        Assert.IsType<T>(await device.Ask<object>(request, Patience, Cancelled));

    protected static async Task<VfioError> RefusedAsync(IActorRef device, object request) => (await AskAsync<DeviceFailed>(device, request)).Error;

    protected static async Task<SessionId> OpenAsync(IActorRef device, IActorRef consumer, string holder = "somebody") =>
        (await AskAsync<DeviceOpened>(device, new OpenDevice(holder, consumer))).Session;

    /// <summary>The next message of this kind and content; what comes before it is passed over.</summary>
    protected static async Task<T> UntilAsync<T>(TestProbe probe, Predicate<T> condition) =>
        await probe.FishForMessageAsync(condition, Patience, cancellationToken: Cancelled);

    protected static async Task<T> NextAsync<T>(TestProbe probe) => await probe.ExpectMsgAsync<T>(cancellationToken: Cancelled);
}
