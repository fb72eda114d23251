using System.Collections.Immutable;
using System.Net;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Hosting.Logging;
using Fabric.Devices;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Linux;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts;
using Fabric.Node.Configuration;
using Fabric.Node.Consumers;

namespace Fabric.Node.Hosting;

/// <summary>
/// The devices of this machine and what is claimed of them, in an actor system of their own: local, with no remoting and no cluster. It goes
/// on while the cluster membership beside it ends and is joined anew, so that no trouble of the control plane stops a device.
/// </summary>
internal sealed class HostSystem : IAsyncDisposable
{
    private readonly EmulatedBus bus;

    private HostSystem(EmulatedBus bus, DataPlaneListener listener, ActorSystem system, IActorRef devices, IActorRef attachments)
    {
        this.bus = bus;
        Listener = listener;
        System = system;
        Devices = devices;
        Attachments = attachments;
    }

    public DataPlaneListener Listener { get; }

    public ActorSystem System { get; }

    public IActorRef Devices { get; }

    public IActorRef Attachments { get; }

    public static HostSystem Start(FabricSettings settings, ILoggerFactory loggers, TimeProvider time)
    {
        var emulated = settings.Hardware.Emulated;
        var bus = new EmulatedBus(new EmulatedBusOptions(emulated.Accelerators, emulated.FunctionsPerAccelerator, emulated.StateBytes), time);
        var listener = new DataPlaneListener(
            loggers.CreateLogger("DataPlane"), endPoint: new IPEndPoint(IPAddress.Parse(settings.DataPlane.Address), settings.DataPlane.Port));
        var system = ActorSystem.Create("host", ActorSystemSetup.Create(new LoggerFactorySetup(loggers)).And(BootstrapSetup.Create().WithConfig(ConfigurationFactory.ParseString(AkkaLogging.Hocon))));
        var devices = system.ActorOf(
            HostActor.Props(new Fabric.Devices.HostOptions(
                bus,
                HostDrivers.Without(settings.Hardware.WithoutDrivers),
                Inventory(settings.Hardware.Linux),
                function => (function as AcceleratorVirtualFunction)?.StateBytes,
                time)),
            "host");
        var attachments = system.ActorOf(
            AttachmentsActor.Props(settings.Node.Name, devices, new AcceleratorGuestFactory(time), listener, time), "attachments");
        return new HostSystem(bus, listener, system, devices, attachments);
    }

    public async ValueTask DisposeAsync()
    {
        await System.Terminate();
        await Listener.DisposeAsync();
        bus.Dispose();
    }

    /// <summary>The real functions of this machine: shown, and left alone.</summary>
    private static ImmutableArray<DeviceStatus> Inventory(LinuxSettings linux) => !linux.Enabled
        ? []
        : [.. new SysfsInventory(linux.Sysfs).Enumerate().Select(function => new DeviceStatus(
            function.Address,
            function.Ids,
            Model: null,
            Physical: true,
            function.DriverName,
            DeviceState.Inventory,
            DeviceHealth.Unknown,
            Migration: null,
            Holder: null,
            StateBytes: null,
            function.IommuGroup,
            function.PhysicalFunction,
            [.. function.ResetMethods],
            History: []))];
}
