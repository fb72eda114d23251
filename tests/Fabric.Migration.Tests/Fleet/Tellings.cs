using Akka.Actor;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>What one teller tells a fleet, each time newer than before.</summary>
internal static class Tellings
{
    private static readonly Guid Life = Guid.NewGuid();
    private static long versions;

    public static void Tell(IActorRef fleet, HostInventory inventory)
    {
        foreach (var portion in InventoryPortion.Of(inventory, Life, Interlocked.Increment(ref versions)))
            fleet.Tell(portion);
    }

    public static void Tell(IActorRef fleet, MovesView view)
    {
        foreach (var portion in MovesPortion.Of(view, Life, Interlocked.Increment(ref versions)))
            fleet.Tell(portion);
    }
}
