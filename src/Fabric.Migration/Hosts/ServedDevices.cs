using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Pci;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Told to the attachments of a host, whenever it changes: the devices that it serves on sockets, by address. They are for whoever connects there, and no
/// claim is offered them, also while nobody does.
/// </summary>
public sealed record ServedDevices(ImmutableDictionary<PciAddress, string> Sockets) : INoSerializationVerificationNeeded
{
    public static ServedDevices None { get; } = new(ImmutableDictionary<PciAddress, string>.Empty);

    /// <summary>The same devices, those that are served as held by their sockets.</summary>
    internal DeviceList In(DeviceList list) => Sockets.IsEmpty
        ? list
        : list with
        {
            Devices =
            [
                .. list.Devices.Select(device => device.State == DeviceState.Closed && Sockets.TryGetValue(device.Address, out var socket)
                    ? device with { State = DeviceState.Open, Holder = $"the socket {socket}, on which its host serves it" }
                    : device),
            ],
        };
}
