using Akka.Actor;
using Akka.Configuration;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Benchmarks;

/// <summary>A bus on which nothing ever happens.</summary>
internal sealed class QuietBus(params IReadOnlyList<IPciFunction> functions) : IPciBus
{
    public IReadOnlyList<IPciFunction> Functions => functions;

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => [source];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Ok;

    public void ReportTo(Action<BusEvent> sink)
    {
        // There is nothing to report.
    }
}

/// <summary>A host with its actor system, as a daemon has it, without the daemon.</summary>
internal static class BenchHost
{
    public static ActorSystem System() =>
        ActorSystem.Create("fabric", ConfigurationFactory.ParseString("akka.loglevel = OFF\nakka.stdout-loglevel = OFF\nakka.log-dead-letters = off"));

    public static IActorRef Start(
        ActorSystem system, IPciBus bus, string name = "host", DriverCatalog? drivers = null, DeviceOptions? devices = null) => system.ActorOf(
        HostActor.Props(new HostOptions(bus, drivers ?? new DriverCatalog(), Inventory: [], StateBytesOf: static _ => null, TimeProvider.System)
        {
            Devices = devices ?? DeviceOptions.Default,
        }), name);
}
