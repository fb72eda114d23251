using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

/// <summary>One host's devices, told by its gateway to every control node: at once when something changed, and every few seconds.</summary>
/// <param name="Api">Base address of the host's own HTTP API.</param>
public sealed record HostInventory(string Host, string Api, string Version, DeviceEntry[] Devices) : IWireMessage
{
    /// <summary><c>key=value</c> each, for placement.</summary>
    public string[] Labels { get; init; } = [];
}

/// <summary>A device as the fabric shows it; words as in the HTTP API.</summary>
/// <param name="Claim">The claim that holds it.</param>
/// <param name="Reason">Why it is not Healthy, or what it waits for.</param>
/// <param name="WayBack">What leads back to Healthy.</param>
/// <param name="VirtualFunctions">VFs that there are of it.</param>
/// <param name="MdevUuid">The UUID of a mediated device.</param>
public sealed record DeviceEntry(
    string Address,
    string Ids,
    string? Model,
    bool Physical,
    string? Driver,
    string State,
    string Health,
    string? Reason,
    string? WayBack,
    string? MigrationState,
    string? Claim,
    long? StateBytes,
    int? IommuGroup,
    string? PhysicalFunction,
    int VirtualFunctions,
    string[] ResetMethods,
    Guid? MdevUuid) : IWireMessage
{
    public string? DriverOverride { get; init; }

    /// <summary>Why it has this driver, or none.</summary>
    public string? DriverReason { get; init; }

    public PassedOverDriver[] PassedOver { get; init; } = [];

    /// <summary>A person, and not the fabric, took it out of service.</summary>
    public bool OnPurpose { get; init; }
}

/// <summary>A driver that matches a device and is not the one that it has.</summary>
public sealed record PassedOverDriver(string Driver, string Reason) : IWireMessage;

/// <summary>Asks a control node for the hosts it knows. Answered with <see cref="FleetDescribed"/>.</summary>
public sealed record DescribeFleet : IWireMessage;

public sealed record FleetDescribed(FleetHost[] Hosts, ClaimView[] Claims) : IWireMessage
{
    /// <summary>Null where this control node has not heard yet.</summary>
    public MovesView? Moves { get; init; }
}

/// <param name="State"><c>up</c>, <c>unreachable</c> or <c>down</c>.</param>
/// <param name="Address">Cluster address, <c>ip:port</c>.</param>
public sealed record FleetHost(string Name, string State, string Address, HostInventory? Inventory) : IWireMessage
{
    /// <summary>It is down because its daemon was ended in good order.</summary>
    public bool Left { get; init; }
}

/// <summary>A claim changed; told to every control node.</summary>
public sealed record ClaimChanged(ClaimView Claim) : IWireMessage;

/// <summary>Something worth telling people happened; told to every control node.</summary>
/// <param name="Kind">Such as <c>migration.committed</c>.</param>
/// <param name="Subject">A claim, migration, host or device id.</param>
public sealed record FabricEvent(DateTimeOffset Time, string Kind, string Subject, string Node, string Message) : IWireMessage;

/// <summary>Subscribes the sender to events: the remembered ones after <paramref name="AfterId"/> first, then each as it comes.</summary>
public sealed record FollowEvents(long AfterId) : IWireMessage;

/// <param name="Id">Counted by the control node that tells it, from 1.</param>
public sealed record NumberedEvent(long Id, FabricEvent Event) : IWireMessage;
