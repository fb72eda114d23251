using Akka.Actor;

namespace Fabric.Devices.Drivers;

/// <summary>No driver: everything falls through, and the core alone is what the holder sees.</summary>
public sealed class PassthroughDriver(DriverContext context) : VariantDriver(context)
{
    public static Props Props(DriverContext context) => Akka.Actor.Props.Create(() => new PassthroughDriver(context));
}
