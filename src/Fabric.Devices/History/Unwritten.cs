using Akka.Actor;
using Fabric.Pci;

namespace Fabric.Devices.History;

/// <summary>Something that is to be written down.</summary>
/// <param name="Number">Among its kind, of its device.</param>
internal abstract record Unwritten(PciAddress Address, long Number);

internal sealed record UnwrittenEntry(PciAddress Address, long Number, DeviceHistoryEntry Entry) : Unwritten(Address, Number);

/// <param name="Standing">What is written.</param>
/// <param name="Asked">What was asked to be kept: the very one that is acknowledged.</param>
/// <param name="Since">When, in ticks of the history.</param>
internal sealed record UnwrittenStanding(PciAddress Address, long Number, DeviceStanding Standing, DeviceStanding Asked, long Since)
    : Unwritten(Address, Number)
{
    /// <summary>Who waits for it; null when that was answered. For the history's own eyes.</summary>
    public IActorRef? Requester { get; set; }
}
