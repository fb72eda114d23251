using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices;

/// <summary>
/// What a device understands: the kernel's entries as messages (contract §11.4). Sent to the front of a device's chain, its driver; what a
/// driver does not handle falls through to the core. Every request gets one <see cref="DeviceReply"/>: its own, or <see cref="DeviceFailed"/>.
/// </summary>
public abstract record DeviceRequest : INoSerializationVerificationNeeded;

/// <summary>The answer to a <see cref="DeviceRequest"/>.</summary>
public abstract record DeviceReply : INoSerializationVerificationNeeded;

/// <summary>The request was refused or failed: a Linux errno and a sentence saying what to do.</summary>
public sealed record DeviceFailed(VfioError Error) : DeviceReply;

/// <summary>The request was carried out and has nothing to tell.</summary>
public sealed record DeviceDone : DeviceReply
{
    public static DeviceDone Instance { get; } = new();
}

/// <summary>An open device file. A closed one is never used again.</summary>
public readonly record struct SessionId(long Value)
{
    public override string ToString() => $"session {Value}";
}

// ---- Opening and closing -------------------------------------------------------------------------------------------------------------

/// <summary>Opens the device for one holder (LC-20). The holder is watched: when it dies, the session closes. Errors: EBUSY, EAGAIN.</summary>
/// <param name="Holder">Who it is, for people.</param>
/// <param name="Consumer">Whose life the session has.</param>
public sealed record OpenDevice(string Holder, IActorRef Consumer) : DeviceRequest;

public sealed record DeviceOpened(SessionId Session) : DeviceReply;

/// <summary>A request on an open device. A session that is closed gets ENODEV and touches nothing.</summary>
public abstract record SessionRequest(SessionId Session) : DeviceRequest;

/// <summary>Last close (LC-30): DMA is cut off, the function is reset.</summary>
public sealed record CloseDevice(SessionId Session) : SessionRequest(Session);

// ---- The uAPI ------------------------------------------------------------------------------------------------------------------------

/// <summary>GET_INFO (IO-10).</summary>
public sealed record GetDeviceInfo(SessionId Session) : SessionRequest(Session);

public sealed record DeviceInfoRead(DeviceInfo Info) : DeviceReply;

/// <summary>GET_REGION_INFO (IO-20). Errors: EINVAL.</summary>
public sealed record GetRegionInfo(SessionId Session, int Index) : SessionRequest(Session);

public sealed record RegionInfoRead(RegionInfo Info) : DeviceReply;

/// <summary>GET_IRQ_INFO (IO-30). Errors: EINVAL.</summary>
public sealed record GetIrqInfo(SessionId Session, int Index) : SessionRequest(Session);

public sealed record IrqInfoRead(IrqInfo Info) : DeviceReply;

/// <summary>SET_IRQS with a trigger (IO-40), or null to clear it. Errors: EINVAL.</summary>
public sealed record SetTrigger(SessionId Session, IrqIndex Index, IEventTarget? Target) : SessionRequest(Session);

/// <summary>RESET (IO-50). Errors: EINVAL, EAGAIN.</summary>
public sealed record ResetDevice(SessionId Session) : SessionRequest(Session);

/// <summary>read(2): up to <paramref name="Length"/> bytes, at most <see cref="DeviceLimits.MaxTransfer"/>. Errors: EINVAL, EFAULT, EIO.</summary>
public sealed record ReadRegion(SessionId Session, int Region, ulong Offset, int Length) : SessionRequest(Session);

/// <summary>Shorter than asked for at the end of a region (IO-111).</summary>
public sealed record RegionRead(ReadOnlyMemory<byte> Data) : DeviceReply;

/// <summary>write(2). Errors: EINVAL, EFAULT, EIO.</summary>
public sealed record WriteRegion(SessionId Session, int Region, ulong Offset, ReadOnlyMemory<byte> Data) : SessionRequest(Session);

public sealed record RegionWritten(int Length) : DeviceReply;

/// <summary>mmap(2) of a BAR (IO-114). Errors: EINVAL.</summary>
public sealed record MapRegion(SessionId Session, int Region) : SessionRequest(Session);

public sealed record RegionMapped(RegionMapping Mapping) : DeviceReply;

/// <summary>Maps memory of the holder for DMA. Errors: EINVAL, EEXIST, EOVERFLOW, ENOSPC.</summary>
public sealed record MapDma(SessionId Session, ulong Iova, IDmaMemory Memory) : SessionRequest(Session);

/// <summary>Errors: ENOENT.</summary>
public sealed record UnmapDma(SessionId Session, ulong Iova) : SessionRequest(Session);

// ---- Migration v2: a driver's own; the core answers ENOTTY (IO-80) -------------------------------------------------------------------

/// <summary>Feature MIGRATION (MG-5). Errors: ENOTTY.</summary>
public sealed record GetMigrationFlags(SessionId Session) : SessionRequest(Session);

public sealed record MigrationFlagsRead(MigrationFlags Flags) : DeviceReply;

/// <summary>Feature MIG_DEVICE_STATE, SET (MG-3). On failure the state may have advanced: ask for it (MG-30). Errors: ENOTTY, EINVAL, EIO.</summary>
public sealed record SetMigrationState(SessionId Session, MigrationState Target) : SessionRequest(Session);

/// <param name="Stream">The data fd, where the transition opened one (MG-20).</param>
public sealed record MigrationStateSet(MigrationState State, IMigrationStream? Stream) : DeviceReply;

/// <summary>Feature MIG_DEVICE_STATE, GET. Errors: ENOTTY.</summary>
public sealed record GetMigrationState(SessionId Session) : SessionRequest(Session);

public sealed record MigrationStateRead(MigrationState State) : DeviceReply;

/// <summary>Feature MIG_DATA_SIZE (MG-27). Errors: ENOTTY.</summary>
public sealed record GetMigrationDataSize(SessionId Session) : SessionRequest(Session);

public sealed record MigrationDataSizeRead(ulong Bytes) : DeviceReply;

/// <summary>Feature DMA_LOGGING_START over one range (MG-40). Errors: ENOTTY, EINVAL.</summary>
public sealed record StartDmaLogging(SessionId Session, ulong Iova, ulong Length) : SessionRequest(Session);

/// <summary>Feature DMA_LOGGING_STOP (MG-42): a successful no-op when it is not on. Errors: ENOTTY.</summary>
public sealed record StopDmaLogging(SessionId Session) : SessionRequest(Session);

/// <summary>Feature DMA_LOGGING_REPORT (MG-41): reads and clears. A failed report means that anything may be dirty. Errors: ENOTTY, EINVAL.</summary>
public sealed record ReportDmaLogging(SessionId Session) : SessionRequest(Session);

public sealed record DmaLoggingReported(DirtyBitmap Dirty) : DeviceReply;

// ---- Errors (contract §4.3): broadcast by recovery, answered with a vote -------------------------------------------------------------

/// <summary>A callback of the recovery machine. Answered with <see cref="RecoveryVoted"/>.</summary>
public abstract record RecoveryCallback : DeviceRequest;

public sealed record ErrorDetected(ChannelState State) : RecoveryCallback;

public sealed record MmioEnabled : RecoveryCallback;

public sealed record SlotReset : RecoveryCallback;

public sealed record ResumeOperation : RecoveryCallback;

public sealed record RecoveryVoted(RecoveryVote Vote) : DeviceReply;

/// <summary>Bounds of what one message may ask for.</summary>
public static class DeviceLimits
{
    /// <summary>Bytes of one region read or write.</summary>
    public const int MaxTransfer = 1 << 20;
}

// ---- Inside a device: driver, core and their supervisor ------------------------------------------------------------------------------

/// <summary>A driver's own request to the core, answered to the driver with <see cref="CoreReplied"/> of the same number.</summary>
public sealed record CoreCall(long Number, DeviceRequest Request) : INoSerializationVerificationNeeded;

public sealed record CoreReplied(long Number, DeviceReply Reply) : INoSerializationVerificationNeeded;

/// <summary>What happened to a device, for its history; driver and core tell it to their supervisor.</summary>
public abstract record DeviceFact : INoSerializationVerificationNeeded;

public sealed record SessionOpened(string Holder) : DeviceFact;

/// <summary>Also told to the driver.</summary>
public sealed record SessionClosed(SessionId Session, string Holder, string Why) : DeviceFact;

public sealed record FunctionReset(bool Worked, string Why) : DeviceFact;

public sealed record MigrationStateChanged(MigrationState State) : DeviceFact;

public sealed record ErrorReported(AerSeverity Severity, uint Status) : DeviceFact;

public sealed record RecoveryStarted(AerSeverity Severity) : DeviceFact;

public sealed record RecoveryEnded(bool Recovered) : DeviceFact;

// ---- The host ------------------------------------------------------------------------------------------------------------------------

/// <summary>Asks the host for its devices. Answered with <see cref="DeviceList"/>.</summary>
public sealed record ListDevices : INoSerializationVerificationNeeded
{
    public static ListDevices Instance { get; } = new();
}

public sealed record DeviceList(ImmutableArray<DeviceStatus> Devices) : INoSerializationVerificationNeeded;

/// <summary>Asks the host for the address of a device's chain. Answered with <see cref="DeviceFound"/> or <see cref="DeviceFailed"/> (ENODEV).</summary>
public sealed record FindDevice(PciAddress Address) : INoSerializationVerificationNeeded;

public sealed record DeviceFound(IActorRef Front, DeviceStatus Status) : INoSerializationVerificationNeeded;

/// <summary>Makes an emulated function fail. Answered with <see cref="RecoveryReport"/> or <see cref="DeviceFailed"/>.</summary>
public sealed record InjectAer(PciAddress Address, AerSeverity Severity) : INoSerializationVerificationNeeded;

/// <param name="Recovered">Null for a correctable error: there was nothing to recover.</param>
/// <param name="Steps">What the recovery machine did, in order.</param>
public sealed record RecoveryReport(PciAddress Source, AerSeverity Severity, bool? Recovered, TimeSpan Took, ImmutableArray<string> Steps)
    : INoSerializationVerificationNeeded;

public enum DeviceState
{
    Closed,
    Open,
    Recovering,

    /// <summary>Past its restart budget, or not recovered: out of service until the daemon starts again.</summary>
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
public sealed record DeviceHistoryEntry(DateTimeOffset Time, string Kind, string Message);

/// <summary>A device as its host sees it.</summary>
/// <param name="Model">What claims ask for; null where nobody can claim it.</param>
/// <param name="Physical">A real function of this machine, from sysfs.</param>
/// <param name="StateBytes">Bytes of device state that a migration moves.</param>
/// <param name="History">The last entries, newest last.</param>
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
    ImmutableArray<string> ResetMethods,
    ImmutableArray<DeviceHistoryEntry> History);

/// <summary>A device's status changed; published on the host's event stream.</summary>
public sealed record DeviceStatusChanged(DeviceStatus Status) : INoSerializationVerificationNeeded;
