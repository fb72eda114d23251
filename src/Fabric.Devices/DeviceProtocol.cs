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
/// Of every request: EIO from a device that is out of service, hangs or failed at it; ENODEV from one that is being taken away.
/// </summary>
public abstract record DeviceRequest : INoSerializationVerificationNeeded;

/// <summary>The answer to a <see cref="DeviceRequest"/>.</summary>
public abstract record DeviceReply : INoSerializationVerificationNeeded;

/// <summary>The request was refused or failed: a Linux errno and a sentence saying what to do.</summary>
public sealed record DeviceFailed(VfioError Error) : DeviceReply
{
    public DeviceFailed(Errno errno, string sentence)
        : this(new VfioError(errno, sentence))
    {
    }
}

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

// ---- Opening and closing (kernel: open_device, close_device) -------------------------------------------------------------------------

/// <summary>
/// Opens the device for one holder: by its cdev, or with a group session as GET_DEVICE_FD does, and then more than once (LC-12). The first
/// open resets the function (LC-20). The holder is watched: when it dies, the session closes. Errors: EBUSY held already, or group and cdev
/// exclude each other (LC-13); EACCES, EINVAL of the VF token (contract §1.5); EAGAIN under contention (LC-21); ENODEV; EIO.
/// </summary>
/// <param name="Holder">Who it is, for people.</param>
/// <param name="Consumer">Whose life the session has; sessions of one consumer are one owner's in a hot reset (LC-54).</param>
/// <param name="Token">A VF token; null leaves it to the host, which has those of its PFs.</param>
/// <param name="Group">The open group that the device is opened by; null for its cdev.</param>
public sealed record OpenDevice(string Holder, IActorRef Consumer, Guid? Token = null, GroupSessionId? Group = null) : DeviceRequest;

public sealed record DeviceOpened(SessionId Session) : DeviceReply;

/// <summary>A request on an open device. A session that is closed gets ENODEV and touches nothing.</summary>
public abstract record SessionRequest(SessionId Session) : DeviceRequest;

/// <summary>Closes a session. The last close (LC-30) cuts off DMA and resets the function.</summary>
public sealed record CloseDevice(SessionId Session) : SessionRequest(Session);

// ---- The uAPI (kernel: ioctl, get_region_info_caps, device_feature) ------------------------------------------------------------------

/// <summary>GET_INFO (IO-10).</summary>
public sealed record GetDeviceInfo(SessionId Session) : SessionRequest(Session);

public sealed record DeviceInfoRead(DeviceInfo Info) : DeviceReply;

/// <summary>GET_REGION_INFO (IO-20). Errors: EINVAL.</summary>
public sealed record GetRegionInfo(SessionId Session, int Index) : SessionRequest(Session);

public sealed record RegionInfoRead(RegionInfo Info) : DeviceReply;

/// <summary>GET_IRQ_INFO (IO-30). Errors: EINVAL.</summary>
public sealed record GetIrqInfo(SessionId Session, int Index) : SessionRequest(Session);

public sealed record IrqInfoRead(IrqInfo Info) : DeviceReply;

/// <summary>SET_IRQS (contract §2.5). Errors: those of the matrix.</summary>
public sealed record SetDeviceIrqs(SessionId Session, SetIrqs Request) : SessionRequest(Session);

/// <param name="Available">0 where it was done; else nothing was done, because only so many vectors are to be had .</param>
public sealed record DeviceIrqsSet(int Available) : DeviceReply;

/// <summary>SET_IRQS of one vector with a trigger (IO-40), or null to clear it. Errors: EINVAL.</summary>
public sealed record SetTrigger(SessionId Session, IrqIndex Index, IEventTarget? Target) : SessionRequest(Session);

/// <summary>RESET (IO-50). Errors: EINVAL, EAGAIN.</summary>
public sealed record ResetDevice(SessionId Session) : SessionRequest(Session);

/// <summary>GET_PCI_HOT_RESET_INFO (IO-60, IO-61). Errors: ENODEV, EPERM, EAGAIN.</summary>
public sealed record GetHotResetInfo(SessionId Session) : SessionRequest(Session);

public sealed record HotResetInfoRead(HotResetInfo Info) : DeviceReply;

/// <summary>
/// PCI_HOT_RESET of slot or bus: the caller shows that every function in it is its own, by the groups it has open, or (none, by cdev) because
/// it holds them (LC-51, LC-52, LC-54, IO-62). Errors: EINVAL, ENODEV, EBUSY, EAGAIN, EIO.
/// </summary>
public sealed record HotResetDevice(SessionId Session, ImmutableArray<GroupSessionId> Groups) : SessionRequest(Session);

/// <summary>IOEVENTFD (IO-70): a BAR write that an event makes from now on, or (null) not any more. Errors: EINVAL, ENODEV, EEXIST, ENOSPC.</summary>
public sealed record SetIoEventFd(SessionId Session, IoEvent Write, IEventSource? Source) : SessionRequest(Session);

/// <summary>An ioctl that the uAPI does not have: a driver's own. Errors: ENOTTY where no driver takes it (IO-2).</summary>
public sealed record DeviceIoctl(SessionId Session, uint Number, ReadOnlyMemory<byte> Argument) : SessionRequest(Session);

/// <param name="Value">What ioctl(2) returns, 0 or above.</param>
public sealed record DeviceIoctlDone(int Value, ReadOnlyMemory<byte> Argument) : DeviceReply;

/// <summary>FEATURE with PROBE (IO-80). Errors: ENOTTY, EINVAL, EOPNOTSUPP (IO-90).</summary>
public sealed record FindFeature(SessionId Session, CoreFeature Feature) : SessionRequest(Session);

public sealed record FeatureFound(FeatureOperations Operations) : DeviceReply;

/// <summary>GET or SET of a feature that the core has not: a driver's own (IO-80). Errors: ENOTTY where no driver has it, EINVAL, and its own.</summary>
/// <param name="Operation">One of them.</param>
public sealed record UseFeature(SessionId Session, ushort Feature, FeatureOperations Operation, ReadOnlyMemory<byte> Payload) : SessionRequest(Session);

/// <param name="Payload">Of a GET; empty after a SET.</param>
public sealed record FeatureUsed(ReadOnlyMemory<byte> Payload) : DeviceReply;

/// <summary>Feature PCI_VF_TOKEN (LC-40). Errors: ENOTTY.</summary>
public sealed record SetVfToken(SessionId Session, Guid Token) : SessionRequest(Session);

/// <summary>Features LOW_POWER_ENTRY and, with a wake target, LOW_POWER_ENTRY_WITH_WAKEUP (LC-60, LC-62). Errors: EINVAL.</summary>
public sealed record EnterLowPower(SessionId Session, IEventTarget? Wake) : SessionRequest(Session);

/// <summary>Feature LOW_POWER_EXIT (LC-62).</summary>
public sealed record ExitLowPower(SessionId Session) : SessionRequest(Session);

/// <summary>Feature DMA_BUF (IO-90). Errors: EOPNOTSUPP, EINVAL, ENODEV, EOVERFLOW.</summary>
/// <param name="Shown">What a driver shows in place of the BAR, for the core to export; null from everybody else.</param>
public sealed record GetDmaBuf(SessionId Session, int Region, ImmutableArray<DmaBufRange> Ranges, RegionMapping? Shown = null)
    : SessionRequest(Session);

public sealed record DmaBufGot(DmaBuf Buffer) : DeviceReply;

// ---- Regions and DMA (kernel: read, write, mmap) -------------------------------------------------------------------------------------

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
/// <param name="Access">What the device may do with it.</param>
public sealed record MapDma(SessionId Session, ulong Iova, IDmaTarget Memory, DmaAccess Access = DmaAccess.ReadWrite) : SessionRequest(Session);

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

/// <summary>Feature MIG_PRECOPY_INFOv2: from now on a fresh start-up set is told (MG-26). Errors: EINVAL without PRE_COPY.</summary>
public sealed record OptIntoPrecopyInfoV2(SessionId Session) : SessionRequest(Session);

/// <summary>Feature DMA_LOGGING_START over one range (MG-40). Errors: ENOTTY, EINVAL.</summary>
public sealed record StartDmaLogging(SessionId Session, ulong Iova, ulong Length) : SessionRequest(Session);

/// <summary>Feature DMA_LOGGING_STOP (MG-42): a successful no-op when it is not on. Errors: ENOTTY.</summary>
public sealed record StopDmaLogging(SessionId Session) : SessionRequest(Session);

/// <summary>Feature DMA_LOGGING_REPORT (MG-41): reads and clears. A failed report means that anything may be dirty. Errors: ENOTTY, EINVAL.</summary>
public sealed record ReportDmaLogging(SessionId Session) : SessionRequest(Session);

public sealed record DmaLoggingReported(DirtyBitmap Dirty) : DeviceReply;

// ---- Errors (kernel: err_handler; contract §4.3): broadcast by recovery, answered with a vote ----------------------------------------

/// <summary>A callback of the recovery machine. Answered with <see cref="RecoveryVoted"/>.</summary>
public abstract record RecoveryCallback : DeviceRequest;

/// <summary>error_detected.</summary>
/// <param name="Record">What was reported: severity, status and header log (DM-1).</param>
public sealed record ErrorDetected(ChannelState State, AerRecord Record) : RecoveryCallback;

/// <summary>mmio_enabled.</summary>
public sealed record MmioEnabled : RecoveryCallback;

/// <summary>slot_reset.</summary>
public sealed record SlotReset : RecoveryCallback;

/// <summary>resume.</summary>
public sealed record ResumeOperation : RecoveryCallback;

/// <param name="Handler">A consumer that votes too (<see cref="HandleErrors"/>): it is asked next, and its vote counts where it gives one.</param>
public sealed record RecoveryVoted(RecoveryVote Vote, IActorRef? Handler = null) : DeviceReply;

/// <summary>
/// Beyond the kernel (DM-1): the holder takes part in recovery. Every <see cref="RecoveryCallback"/> is sent to the handler, who answers with
/// <see cref="RecoveryVoted"/>; NEED_RESET brings slot_reset and resume. One that does not answer leaves the vote to the core. Null ends it.
/// </summary>
public sealed record HandleErrors(SessionId Session, IActorRef? Handler) : SessionRequest(Session);

// ---- SR-IOV (kernel: sriov_configure) ------------------------------------------------------------------------------------------------

/// <summary>
/// A write to sriov_numvfs (contract §5): makes that many VFs of a PF, or removes them. Of the host, not of a holder; a driver may own it. Errors:
/// those of SV-4 to SV-10.
/// </summary>
public sealed record SetVirtualFunctions(int Count) : DeviceRequest;

public sealed record VirtualFunctionsSet(SriovChange Change) : DeviceReply;

// ---- Told to a device, not answered --------------------------------------------------------------------------------------------------

/// <summary>
/// reset_done, told to the driver (IO-51), before the answer to what set it off: the function was reset and the driver had not asked for it. Whatever migration was under way is over
/// (MG-34). Nothing was reset where the outcome is an error.
/// </summary>
public sealed record FunctionWasReset(VfioResult Outcome) : INoSerializationVerificationNeeded;

/// <summary>Bounds of what one message may ask for.</summary>
public static class DeviceLimits
{
    /// <summary>Bytes of one region read or write.</summary>
    public const int MaxTransfer = 1 << 20;
}

// ---- Groups --------------------------------------------------------------------------------------------------------------------------

/// <summary>An open IOMMU group file.</summary>
public readonly record struct GroupSessionId(int Group, long Value)
{
    public override string ToString() => $"session {Value} of IOMMU group {Group}";
}

/// <summary>
/// Opens an IOMMU group, asked of the host: devices are then opened by it (<see cref="OpenDevice"/>). Answered with <see cref="GroupOpened"/>.
/// Errors: ENODEV no device of this host is in it; EBUSY open already, or a device of it is open by its cdev (LC-13).
/// </summary>
public sealed record OpenGroup(int Group, string Holder, IActorRef Consumer) : DeviceRequest;

public sealed record GroupOpened(GroupSessionId Session) : DeviceReply;

/// <summary>Asked of the host. Errors: ENODEV not open; EBUSY while devices are open by it.</summary>
public sealed record CloseGroup(GroupSessionId Session) : DeviceRequest;
