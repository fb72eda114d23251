using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>Something asked of the host, <c>/user/host</c>. Answered with its own reply or with <see cref="DeviceFailed"/>.</summary>
public abstract record HostRequest : INoSerializationVerificationNeeded;

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
public sealed record ConfigureSriov(PciAddress Address, int Count, string By) : DeviceCommand(Address);

public sealed record SriovConfigured(PciAddress Address, ImmutableArray<PciAddress> VirtualFunctions) : HostReply;

/// <summary>
/// Takes a device away in order (LC-32): nobody opens it any more, its holder is asked every 10 s, and when it is released it leaves the bus.
/// Answered with <see cref="HostDone"/> when it is gone; until then <see cref="DeviceStatus"/> shows who is waited for.
/// </summary>
/// <param name="ForceAfter">The holder's sessions are closed by force when so much time has passed; null waits for ever, as the kernel does.</param>
public sealed record RemoveDevice(PciAddress Address, string By, TimeSpan? ForceAfter = null) : DeviceCommand(Address);

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

    /// <summary>VFs that there are of it.</summary>
    public int VirtualFunctions { get; init; }

    /// <summary>A quarantined device that still answers: a claim on it can be evacuated by migration.</summary>
    public bool Readable { get; init; }
}

/// <summary>A device's status changed; published on the host's event stream.</summary>
public sealed record DeviceStatusChanged(DeviceStatus Status) : INoSerializationVerificationNeeded;

/// <summary>A device has left the host; published on the host's event stream.</summary>
public sealed record DeviceGone(PciAddress Address, string Why) : INoSerializationVerificationNeeded;

/// <summary>An entry of a device's history, as it is made; published on the host's event stream.</summary>
public sealed record DeviceNoted(PciAddress Address, DeviceHistoryEntry Entry) : INoSerializationVerificationNeeded;
