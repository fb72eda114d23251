using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>Something asked of the host, <c>/user/host</c>. Answered with its own reply or with <see cref="DeviceFailed"/>.</summary>
public abstract record HostRequest : INoSerializationVerificationNeeded
{
    /// <summary>
    /// Of one that changes something: nothing is done. What would stand in its way is answered as it would be then, else <see cref="CommandPlanned"/>.
    /// </summary>
    public bool PlanOnly { get; init; }

    /// <summary>Asked where nothing has stood in the way, and before anything is done: whether it was a plan, and is answered.</summary>
    internal bool IsPlanned(IActorRef asker, string would, params ImmutableArray<string> affects)
    {
        if (PlanOnly)
            asker.Tell(new CommandPlanned(would, affects));
        return PlanOnly;
    }

    /// <summary>Of one that asks for what is so already: it is done, or planned.</summary>
    internal void AnswerAlready(IActorRef asker, string already)
    {
        if (!IsPlanned(asker, $"{already} already, and would stay so"))
            asker.Tell(HostDone.Instance);
    }
}

/// <summary>What a command would do as things are; nothing was done.</summary>
/// <param name="Would">A sentence without a full stop.</param>
/// <param name="Affects">Who else is concerned.</param>
public sealed record CommandPlanned(string Would, ImmutableArray<string> Affects) : HostReply;

/// <summary>An answer of the host.</summary>
public abstract record HostReply : INoSerializationVerificationNeeded;

/// <summary>It was done.</summary>
public sealed record HostDone : HostReply
{
    public static HostDone Instance { get; } = new();
}

// ---- Looking -------------------------------------------------------------------------------------------------------------------------

/// <summary>Asks the host for its devices. Answered with <see cref="DeviceList"/>.</summary>
public sealed record ListDevices : HostRequest
{
    public static ListDevices Instance { get; } = new();
}

public sealed record DeviceList(ImmutableArray<DeviceStatus> Devices) : HostReply;

/// <summary>The functions that are shown and not handed out, as they are now: in place of <see cref="HostOptions.Inventory"/>. Not answered.</summary>
public sealed record ShowFunctions(ImmutableArray<DeviceStatus> Functions) : HostRequest;

/// <summary>A request about one device. Errors of all: ENODEV the host has no such device.</summary>
public abstract record DeviceCommand(PciAddress Address) : HostRequest;

/// <summary>Asks for the address of a device's chain. Answered with <see cref="DeviceFound"/>. Errors: EIO out of service.</summary>
public sealed record FindDevice(PciAddress Address) : DeviceCommand(Address);

/// <param name="Front">Takes <see cref="DeviceRequest"/>s as long as the device is there.</param>
public sealed record DeviceFound(IActorRef Front, DeviceStatus Status) : HostReply;

/// <summary>Asks for the live state of supervisor, driver and core. Answered with <see cref="DeviceInspected"/>.</summary>
public sealed record InspectDevice(PciAddress Address) : DeviceCommand(Address);

/// <param name="State">Parts that did not answer in time say so in their place.</param>
public sealed record DeviceInspected(InspectNode State) : HostReply;

/// <summary>Asks for what happened to a device, the last first. Answered with <see cref="DeviceHistoryRead"/>.</summary>
/// <param name="Limit">1 to 1000 entries.</param>
public sealed record GetDeviceHistory(PciAddress Address, int Limit) : DeviceCommand(Address);

public sealed record DeviceHistoryRead(ImmutableArray<DeviceHistoryEntry> Entries) : HostReply;

// ---- What operators and rules do -----------------------------------------------------------------------------------------------------

/// <summary>
/// Resets a device as a write to sysfs's reset does, whoever holds it: by one method, or by the first that works. Answered with
/// <see cref="HostDone"/>. Errors: ENOTTY no such method, EAGAIN under contention, EIO, ETIMEDOUT.
/// </summary>
/// <param name="By">Who asks, for the history.</param>
public sealed record ResetByOperator(PciAddress Address, string? Method, string By) : DeviceCommand(Address);

/// <summary>Which reset methods are tried, in this order (sysfs: reset_method). Answered with <see cref="HostDone"/>. Errors: EINVAL.</summary>
public sealed record SetResetMethods(PciAddress Address, ImmutableArray<string> Methods, string By) : DeviceCommand(Address);

/// <summary>Takes a device out of service: its sessions end, it is handed to nobody. Acknowledged when it is in the history.</summary>
public sealed record QuarantineDevice(PciAddress Address, string Reason, string By) : DeviceCommand(Address);

/// <summary>
/// Puts a device back into service: it is reset and probed anew, its budgets start again. Answered with <see cref="HostDone"/>. Errors: EINVAL not
/// in quarantine; EBUSY a call to its hardware hangs still; EIO it could not be reset and probed, and stays where it is.
/// </summary>
public sealed record UnquarantineDevice(PciAddress Address, string By) : DeviceCommand(Address);

/// <summary>
/// Makes this many VFs of a PF, or none (contract §5). Answered with <see cref="SriovConfigured"/> when they are probed, or gone. Errors: SV-1 to
/// SV-9; EAGAIN while another change is under way; EBUSY while VFs are held: the holders are asked for release, and the removal goes on.
/// </summary>
public sealed record ConfigureSriov(PciAddress Address, int Count, string By) : DeviceCommand(Address)
{
    /// <summary>As that of <see cref="RemoveDevice"/>, for the VFs that go.</summary>
    public TimeSpan? ForceAfter { get; init; }
}

public sealed record SriovConfigured(PciAddress Address, ImmutableArray<PciAddress> VirtualFunctions) : HostReply;

/// <summary>
/// Takes a device away in order (LC-32): nobody opens it any more, its holder is asked every 10 s, and when it is released it leaves the bus.
/// Answered with <see cref="HostDone"/> when it is gone; until then <see cref="DeviceStatus"/> shows who is waited for.
/// </summary>
/// <param name="ForceAfter">The holder's sessions are closed by force when so much time has passed; null waits for ever, as the kernel does.</param>
public sealed record RemoveDevice(PciAddress Address, string By, TimeSpan? ForceAfter = null) : DeviceCommand(Address);

// ---- Drivers -------------------------------------------------------------------------------------------------------------------------

/// <summary>
/// Sets a function's driver_override, or (null) clears it: the one driver that may be bound, or vfio-pci for the core alone. It stays with the
/// device's standing. The function is probed anew at once; answered with <see cref="HostDone"/> when it is, and the override written down. Errors:
/// EBUSY held, or with VFs; EINVAL no such driver; those with which the driver refuses the function, which nobody has then.
/// </summary>
public sealed record OverrideDriver(PciAddress Address, string? Driver, string By) : DeviceCommand(Address)
{
    internal string Would(string? driver) => Driver is null
        ? $"the host would choose a driver for {Address} again, and probe it anew; it has {driver ?? "none"}"
        : $"{Address} would be probed anew with {Driver}, and with no other driver; it has {driver ?? "none"}";
}

/// <summary>Asks for the drivers that the host has, and for plugins that it does not take. Answered with <see cref="DriverList"/>.</summary>
public sealed record ListDrivers : HostRequest
{
    public static ListDrivers Instance { get; } = new();
}

public sealed record DriverList(ImmutableArray<DriverEntry> Drivers) : HostReply;

/// <summary>A driver, or a plugin of which no driver is loaded.</summary>
/// <param name="Name">Null of a plugin whose drivers are not known.</param>
/// <param name="Plugin">The folder that it came from; null for one in the box.</param>
public sealed record DriverEntry(string? Name, string? Plugin, DriverPresence Presence)
{
    /// <summary>Of its assembly.</summary>
    public string? Version { get; init; }

    /// <summary>Why it is not loaded.</summary>
    public string? Reason { get; init; }

    public ImmutableArray<DriverId> Ids { get; init; } = [];

    public string? Model { get; init; }

    public int Priority { get; init; }

    public string? InFrontOf { get; init; }

    /// <summary>Functions that have it now, in front or behind another.</summary>
    public int Devices { get; init; }
}

public enum DriverPresence
{
    Loaded,
    Refused,
    Unloaded,

    /// <summary>Unloaded, and in memory still, because something uses it.</summary>
    Leaving,
}

/// <summary>
/// Loads the plugins that are in the folder and not loaded, or one of them. Functions that nobody holds and that match a new driver better are
/// probed anew. Answered with <see cref="DriverList"/>. Errors: ENOENT no such plugin, or no folder of them; EAGAIN others are being loaded or
/// unloaded; of one that is named, those with which it is refused.
/// </summary>
/// <param name="Plugin">Its folder's name, or that of a driver that it had; null for all.</param>
public sealed record LoadDrivers(string? Plugin, string By) : HostRequest;

/// <summary>
/// Unloads the plugin that has this driver, or is named so. Its functions are probed anew, and get the next best driver. Answered with
/// <see cref="HostDone"/> then. Errors: ENOENT none, EINVAL in the box, EBUSY one of its functions is held, EAGAIN others are being loaded or
/// unloaded.
/// </summary>
public sealed record UnloadDriver(string Name, string By) : HostRequest;

/// <summary>What happened to a driver; published on the host's event stream.</summary>
/// <param name="Kind"><c>loaded</c>, <c>refused</c> or <c>unloaded</c>.</param>
public sealed record DriverNoted(DateTimeOffset Time, string Plugin, string Kind, string Message) : INoSerializationVerificationNeeded;

// ---- Faults, in emulated functions only ----------------------------------------------------------------------------------------------

/// <summary>Makes an emulated function fail. Errors: EOPNOTSUPP for a real one.</summary>
public abstract record InjectFault(PciAddress Address) : DeviceCommand(Address);

/// <summary>Answered with <see cref="RecoveryReport"/> when recovery is through.</summary>
public sealed record InjectAer(PciAddress Address, AerSeverity Severity) : InjectFault(Address);

/// <summary>Calls of a kind do not return any more, until <see cref="ReleaseHang"/>. Answered with <see cref="HostDone"/>.</summary>
public sealed record InjectHang(PciAddress Address, HangPoint Point) : InjectFault(Address);

public sealed record ReleaseHang(PciAddress Address) : InjectFault(Address);

/// <summary>Pulls the function out. Answered with <see cref="HostDone"/>.</summary>
public sealed record InjectRemoval(PciAddress Address) : InjectFault(Address);

/// <summary>Puts a function back that was pulled out. Answered with <see cref="HostDone"/>.</summary>
public sealed record InjectReturn(PciAddress Address) : InjectFault(Address);

/// <summary>The function's link goes down and up again, so many times. Answered with <see cref="HostDone"/> at once.</summary>
public sealed record InjectFlap(PciAddress Address, int Times, TimeSpan Each) : InjectFault(Address);

// ---- What a host tells ---------------------------------------------------------------------------------------------------------------

/// <param name="Recovered">Null where there was nothing to recover: a correctable error.</param>
/// <param name="Steps">What the recovery machine did, in order.</param>
public sealed record RecoveryReport(PciAddress Source, AerSeverity Severity, bool? Recovered, TimeSpan Took, ImmutableArray<string> Steps) : HostReply;

public enum DeviceState
{
    /// <summary>Being registered; requests wait.</summary>
    Probing,

    Closed,
    Open,

    /// <summary>Takes part in the recovery from an error, or climbs the reset ladder.</summary>
    Recovering,

    /// <summary>On its way out: waits for its holder.</summary>
    Removing,

    /// <summary>Out of service until a person or a rule puts it back.</summary>
    Quarantined,

    /// <summary>Known from sysfs, not handed out.</summary>
    Inventory,
}

public enum DeviceHealth
{
    Healthy,
    Unhealthy,
    Unknown,
}

/// <summary>One entry of a device's history.</summary>
/// <param name="Kind">A word such as <c>quarantined</c>.</param>
public sealed record DeviceHistoryEntry(DateTimeOffset Time, string Kind, string Message);

/// <summary>A device as its host sees it.</summary>
/// <param name="Model">What claims ask for; null where nobody can claim it.</param>
/// <param name="Physical">A real function of this machine, from sysfs.</param>
/// <param name="StateBytes">Bytes of device state that a migration moves.</param>
public sealed record DeviceStatus(
    PciAddress Address,
    PciIds Ids,
    string? Model,
    bool Physical,
    string? Driver,
    DeviceState State,
    DeviceHealth Health,
    MigrationState? Migration,
    string? Holder,
    long? StateBytes,
    int? IommuGroup,
    PciAddress? PhysicalFunction,
    ImmutableArray<string> ResetMethods)
{
    /// <summary>Why it is not Healthy; null where it is.</summary>
    public string? Reason { get; init; }

    /// <summary>What leads back to Healthy; null where it is.</summary>
    public string? WayBack { get; init; }

    /// <summary>Why it has this driver, or none; null where it is only shown.</summary>
    public DriverChoice? Choice { get; init; }

    /// <summary>VFs that there are of it.</summary>
    public int VirtualFunctions { get; init; }

    /// <summary>A quarantined device that still answers: a claim on it can be evacuated by migration.</summary>
    public bool Readable { get; init; }

    /// <summary>A person, and not the fabric, took it out of service; of a quarantined device.</summary>
    public bool OnPurpose { get; init; }

    /// <summary>Who has it, and feels what is done with it; empty where nobody has.</summary>
    public ImmutableArray<string> Concerned => Holder is { } holder ? [$"{Address}, which {holder} holds"] : [];

    /// <summary>The UUID of a mediated device; null of any other.</summary>
    public Guid? MdevUuid
    {
        get => (Guid?)mdev;
        init => mdev = value;
    }

    /// <summary>Boxed: very few of very many devices have one.</summary>
    private readonly object? mdev;
}

/// <summary>A device's status changed; published on the host's event stream.</summary>
public sealed record DeviceStatusChanged(DeviceStatus Status) : INoSerializationVerificationNeeded;

/// <summary>A device has left the host; published on the host's event stream.</summary>
public sealed record DeviceGone(PciAddress Address, string Why) : INoSerializationVerificationNeeded;

/// <summary>An entry of a device's history, as it is made; published on the host's event stream.</summary>
public sealed record DeviceNoted(PciAddress Address, DeviceHistoryEntry Entry) : INoSerializationVerificationNeeded;
