using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

// ---- What hosts tell -----------------------------------------------------------------------------------------------------------------

/// <summary>One host's devices, as its gateway tells every control node of them: <see cref="InventoryPortion"/>.</summary>
/// <param name="Api">Base address of the host's own HTTP API.</param>
public sealed record HostInventory(string Host, string Api, string Version, DeviceEntry[] Devices)
{
    /// <summary><c>key=value</c> each, for placement.</summary>
    public string[] Labels { get; init; } = [];
}

/// <summary>Some of a host's devices, told at once when something changed, and to the control node that asks.</summary>
/// <param name="Part">With these devices alone.</param>
public sealed record InventoryPortion(HostInventory Part, Telling Telling) : IWireMessage
{
    /// <summary>All of an inventory.</summary>
    public static IReadOnlyList<InventoryPortion> Of(HostInventory inventory, Guid life, long version)
    {
        ArgumentNullException.ThrowIfNull(inventory);
        var cut = Portions.Cut(inventory.Devices, WireWeight.Of);
        var around = WireWeight.Of(inventory with { Devices = [] });
        return
        [
            .. cut.Select((portion, number) => new InventoryPortion(
                cut.Count == 1 ? inventory : inventory with { Devices = [.. portion.Items] },
                new Telling(life, version, number, cut.Count, portion.Bytes + around))),
        ];
    }

    internal static HostInventory Join(IReadOnlyList<HostInventory> parts) =>
        parts[0] with { Devices = [.. parts.SelectMany(static part => part.Devices)] };
}

/// <summary>
/// Told every few seconds by a host's gateway to every control node: nothing has changed since this version of its inventory. One that has not
/// got it asks by <see cref="TellInventory"/>.
/// </summary>
public sealed record InventoryUnchanged(string Host, Guid Life, long Version) : IWireMessage;

/// <summary>Has a gateway tell the sender all of its inventory again.</summary>
public sealed record TellInventory : IWireMessage
{
    public static TellInventory Instance { get; } = new();
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

    /// <summary>Equal, arrays by what they hold.</summary>
    internal bool IsSame(DeviceEntry other) =>
        this == other with { ResetMethods = ResetMethods, PassedOver = PassedOver }
        && ResetMethods.AsSpan().SequenceEqual(other.ResetMethods)
        && PassedOver.AsSpan().SequenceEqual(other.PassedOver);
}

/// <summary>A driver that matches a device and is not the one that it has.</summary>
public sealed record PassedOverDriver(string Driver, string Reason) : IWireMessage;

// ---- What a control node knows -------------------------------------------------------------------------------------------------------

/// <summary>Asks the fleet of this node for all that it knows. Answered with <see cref="FleetDescribed"/>; neither ever crosses.</summary>
public sealed record DescribeFleet : INoSerializationVerificationNeeded;

/// <summary>The fabric as a control node knows it; of another node it is read in pages, by <see cref="FleetReader"/>.</summary>
public sealed record FleetDescribed(FleetHost[] Hosts, ClaimView[] Claims) : INoSerializationVerificationNeeded
{
    /// <summary>Null where this control node has not heard yet.</summary>
    public MovesView? Moves { get; init; }
}

/// <summary>Asks for a page of the hosts that a control node knows, by name. Answered with <see cref="HostsRead"/>.</summary>
/// <param name="After">What was read last; null for the first page.</param>
/// <param name="Only">The one host that is meant; null for all.</param>
public sealed record ReadHosts(HostCursor? After, string? Only) : IWireMessage;

/// <param name="Telling">The portion of the inventory that was read; null where the host has told nothing yet.</param>
public sealed record HostCursor(string Host, Telling? Telling) : IWireMessage;

/// <param name="Hosts">
/// A host whose inventory has several portions is there with each of them; one that begins anew, at portion 0, replaces what was read of it.
/// </param>
/// <param name="IsLast">Nothing follows.</param>
public sealed record HostsRead(HostPart[] Hosts, bool IsLast) : IWireMessage;

/// <param name="Host">With the devices of one portion of its inventory.</param>
/// <param name="Telling">Which; null where the host has told nothing yet.</param>
public sealed record HostPart(FleetHost Host, Telling? Telling) : IWireMessage;

/// <summary>Asks for a page of the claims that a control node knows, by id. Answered with <see cref="ClaimsRead"/>.</summary>
/// <param name="After">The claim that was read last; null for the first page.</param>
/// <param name="Only">The one claim that is meant; null for all.</param>
public sealed record ReadClaims(string? After, string? Only) : IWireMessage;

/// <param name="IsLast">Nothing follows.</param>
public sealed record ClaimsRead(ClaimView[] Claims, bool IsLast) : IWireMessage;

/// <summary>Asks for a portion of what a control node knows of moves. Answered with <see cref="MovesRead"/>.</summary>
/// <param name="After">The portion that was read last; null for the first. Where there is a newer version, its first follows.</param>
public sealed record ReadMoves(Telling? After) : IWireMessage;

/// <param name="Portion">Null where this control node has not heard yet.</param>
public sealed record MovesRead(MovesPortion? Portion) : IWireMessage;

/// <param name="State"><c>up</c>, <c>unreachable</c> or <c>down</c>.</param>
/// <param name="Address">Cluster address, <c>ip:port</c>.</param>
public sealed record FleetHost(string Name, string State, string Address, HostInventory? Inventory)
{
    /// <summary>It is down because its daemon was ended in good order.</summary>
    public bool Left { get; init; }
}

// ---- What claims tell, and events ------------------------------------------------------------------------------------------------------

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
