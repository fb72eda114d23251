using Fabric.Migration.Claims;
using Fabric.Migration.Wire;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Hosts;

/// <summary>
/// What a claim tells a host. Carries the claim's generation: a host refuses an older one (L1). Sent again until the report it asks for
/// comes, so each is idempotent.
/// </summary>
public interface IHostCommand : IWireMessage
{
    string ClaimId { get; }

    long Generation { get; }
}

/// <summary>A command to what a host holds of a claim: the functions of one end of a migration, or all that the claim has.</summary>
public interface IAttachmentCommand : IHostCommand
{
    /// <summary>The address of the first function, which names them all: one host may hold both ends of a migration.</summary>
    string Device { get; }
}

/// <summary>A command that opens functions, all of them or none.</summary>
public interface IOpeningCommand : IAttachmentCommand
{
    /// <summary>Their addresses, in the claim's order.</summary>
    string[] Devices { get; }

    long MemoryBytes { get; }

    int StepsPerSecond { get; }

    int LeaseMs { get; }
}

/// <summary>A device that is looked for on a host, and what it must be like.</summary>
/// <param name="Device">Which function; null leaves it to the host.</param>
/// <param name="StateBytes">Device state the source has; 0 when the claim is new.</param>
/// <param name="Driver">The source's driver, which the target must have; null when the claim is new.</param>
/// <param name="Ids">The source's <c>vendor:device</c>; null when the claim is new.</param>
/// <param name="StateFormat">What the source's state is written in; null when the claim is new, or its driver does not say.</param>
public sealed record DeviceNeed(
    string Model, string? Device, long StateBytes = 0, string? Driver = null, string? Ids = null, string? StateFormat = null) : IWireMessage;

/// <summary>A function as a plan shows it, at either end.</summary>
/// <param name="Driver">Null where it is not known.</param>
/// <param name="StateFormat">What its state is written in; null where its driver does not say.</param>
/// <param name="ResetMethods">As sysfs spells them, in the order in which they are tried.</param>
/// <param name="IommuGroup">Null where it has none.</param>
/// <param name="Flags">What it migrates with; null where that is known only when it is open, and where it does not migrate.</param>
/// <param name="LogsDma">It tells which pages it wrote; null where that is known only when it is open.</param>
public sealed record PlannedDevice(
    string Device, string? Driver, string? StateFormat, string[] ResetMethods, int? IommuGroup, string Health, MigrationFlags? Flags, bool? LogsDma)
    : IWireMessage;

/// <summary>Looks whether this host could run a claim of these devices, and touches nothing. Answered with <see cref="TargetPlanned"/>.</summary>
/// <param name="Devices">A function each, in the claim's order.</param>
public sealed record PlanTarget(string ClaimId, long Generation, DeviceNeed[] Devices) : IHostCommand;

/// <summary>Opens the devices and starts their consumer afresh. Answered with <see cref="Attached"/> or <see cref="CommandFailed"/>.</summary>
/// <param name="Life">Of the host, in which it is to be done: one that was started anew has forgotten what had begun there. 0 is any.</param>
/// <param name="LeaseMs">The claim runs under a lease of this length, which is to hold before its consumer starts; 0 for none.</param>
public sealed record Attach(
    string ClaimId, long Generation, string[] Devices, long MemoryBytes, int StepsPerSecond, long Life = 0, int LeaseMs = 0) : IOpeningCommand
{
    public string Device => Devices[0];
}

/// <summary>Opens the devices to receive state. Answered with <see cref="TargetPrepared"/> or <see cref="CommandFailed"/>.</summary>
public sealed record PrepareTarget(
    string ClaimId, long Generation, int Migration, string[] Devices, long MemoryBytes, int StepsPerSecond, int LeaseMs = 0) : IOpeningCommand
{
    public string Device => Devices[0];

    /// <summary>W3C, of the claim's span; null where it has none.</summary>
    public string? Traceparent { get; init; }
}

/// <summary>Starts to send state while the devices run. Answered with <see cref="PreCopyProgress"/>, again and again.</summary>
public sealed record StartPreCopy(
    string ClaimId, long Generation, string Device, int Migration, string Endpoint, byte[] Token, long BandwidthLimit) : IAttachmentCommand
{
    /// <summary>W3C, of the claim's span; null where it has none.</summary>
    public string? Traceparent { get; init; }
}

/// <summary>Stops consumer and devices and sends the rest. Answered with <see cref="SourceStopped"/>, and <see cref="TargetLoaded"/> by the other end.</summary>
public sealed record StopAndCopy(string ClaimId, long Generation, string Device, int Migration) : IAttachmentCommand;

/// <summary>After the commit: the target runs. Answered with <see cref="TargetRunning"/>.</summary>
public sealed record RunTarget(string ClaimId, long Generation, string Device, int Migration) : IAttachmentCommand;

/// <summary>Given up before the commit: the source runs on. Answered with <see cref="SourceRunning"/>.</summary>
public sealed record ResumeSource(string ClaimId, long Generation, string Device, int Migration) : IAttachmentCommand;

/// <summary>Closes the functions of this and every older generation, and refuses them from now on. Answered with <see cref="Detached"/>.</summary>
public sealed record Detach(string ClaimId, long Generation, string Device) : IAttachmentCommand;

/// <summary>The lease that was asked for is in the journal: from the request on the host may let the claim run for its length. Not answered.</summary>
public sealed record LeaseGranted(string ClaimId, long Generation, string Device, long Request) : IAttachmentCommand;

/// <summary>Answered with <see cref="AttachmentVerified"/>.</summary>
public sealed record VerifyAttachment(string ClaimId, long Generation, string Device) : IAttachmentCommand;

/// <summary>Asks whether the host still holds what it should. Answered with <see cref="AttachmentStatus"/> or <see cref="CommandFailed"/>.</summary>
public sealed record ReportAttachment(string ClaimId, long Generation, string Device) : IAttachmentCommand;

// ---- Reports: from a host to the claim ------------------------------------------------------------------------------------------------

/// <summary>What a host tells a claim; finds it by the shard region's proxy, wherever the claim is by now.</summary>
public interface IHostReport : IClaimMessage
{
    string Host { get; }

    long Generation { get; }
}

/// <param name="Devices">The functions it would take, one for each that is needed, in that order; empty where the answer is no.</param>
/// <param name="Reasons">Why not, each with its remedy; empty where the answer is yes.</param>
/// <param name="Life">Of the host that answers: another each time that its daemon is started.</param>
public sealed record TargetPlanned(string ClaimId, string Host, long Generation, string[] Devices, string[] Reasons, long Life = 0) : IHostReport
{
    /// <summary>Of <see cref="Devices"/>.</summary>
    public PlannedDevice[] Shown { get; init; } = [];
}

public sealed record Attached(string ClaimId, string Host, long Generation, string Device) : IHostReport;

/// <param name="Endpoint"><c>ip:port</c> of the data plane.</param>
/// <param name="Token">What the source must show there, once.</param>
public sealed record TargetPrepared(string ClaimId, string Host, long Generation, int Migration, string Endpoint, byte[] Token) : IHostReport;

/// <param name="RoundEnded">Between rounds, <paramref name="RemainingBytes"/> is what a stop now would still have to carry; else the rest of the round.</param>
/// <param name="DirtyBytesPerSecond">How fast state changed during the round; null within one, and where a device does not log what it writes.</param>
/// <param name="Starting">Devices whose start-up state the target has not acknowledged whole (MG-26).</param>
public sealed record PreCopyProgress(
    string ClaimId, string Host, long Generation, int Migration, int Rounds, long Bytes, long RemainingBytes, long BytesPerSecond,
    bool RoundEnded, long? DirtyBytesPerSecond = null, string[]? Starting = null) : IHostReport;

/// <summary>What went over one stream of a migration.</summary>
/// <param name="Checksum">Over all of its frames, in order.</param>
public sealed record StreamSum(long Bytes, string Checksum) : IWireMessage;

/// <param name="Streams">Of memory and consumer state first, then of each device in the claim's order.</param>
/// <param name="DrainMs">From the command to the end of the round that was under way; everything ran meanwhile.</param>
/// <param name="QuiesceMs">From there to consumer and devices standing.</param>
/// <param name="CopyMs">From there to the last byte acknowledged.</param>
public sealed record SourceStopped(
    string ClaimId, string Host, long Generation, int Migration, StreamSum[] Streams, int Rounds, double DrainMs, double QuiesceMs,
    double CopyMs) : IHostReport;

/// <param name="Streams">As in <see cref="SourceStopped"/>.</param>
/// <param name="LoadMs">From the last byte to the devices having accepted their state.</param>
public sealed record TargetLoaded(string ClaimId, string Host, long Generation, int Migration, StreamSum[] Streams, double LoadMs) : IHostReport;

public sealed record TargetRunning(string ClaimId, string Host, long Generation, int Migration, double StartMs) : IHostReport;

public sealed record SourceRunning(string ClaimId, string Host, long Generation, int Migration) : IHostReport;

public sealed record Detached(string ClaimId, string Host, long Generation, string Device) : IHostReport;

/// <summary>Asks for a lease from now on. Answered with <see cref="LeaseGranted"/>, or not at all.</summary>
/// <param name="Request">Another each time, in all lives of the host.</param>
public sealed record RenewLease(string ClaimId, string Host, long Generation, string Device, long Request) : IHostReport;

/// <summary>A command could not be carried out, or what it started broke.</summary>
/// <param name="Gone">The host has nothing of this claim: whatever it held ended with an earlier life of its daemon.</param>
public sealed record CommandFailed(string ClaimId, string Host, long Generation, string Device, string Command, string Reason, bool Gone) : IHostReport;

public sealed record AttachmentVerified(string ClaimId, string Host, long Generation, VerificationResult Result, string? Failure) : IHostReport;

/// <summary>
/// A function that a claim holds is out of service, or was lost. Told when it is found, and again with every status until the function is
/// closed: a claim that hears it twice acts once.
/// </summary>
/// <param name="Device">Which of the claim's functions there.</param>
/// <param name="Readable">The holder's session works still: its state can be moved away. Else the session has ended, and the state with it.</param>
public sealed record DeviceSick(string ClaimId, string Host, long Generation, string Device, string Reason, bool Readable) : IHostReport;

/// <summary>Told every now and then by each host that holds something of a claim, and when asked.</summary>
/// <param name="Devices">In the claim's order; never empty.</param>
public sealed record AttachmentStatus(
    string ClaimId, string Host, long Generation, AttachedDevice[] Devices, AttachmentPhase Phase, WorkloadCounters Workload) : IHostReport
{
    /// <summary>The first function's address, which names them all.</summary>
    public string Device => Devices[0].Device;
}

/// <summary>A function of an attachment.</summary>
/// <param name="Driver">Null until it is open, or where it has none.</param>
/// <param name="Ids"><c>vendor:device</c>; null until it is open.</param>
/// <param name="Flags">What it migrates with; null until it is open, and where it does not migrate.</param>
public sealed record AttachedDevice(string Device, string? Driver, string? Ids, long StateBytes, MigrationFlags? Flags) : IWireMessage
{
    /// <summary>As a plan shows it; null until it is open.</summary>
    public PlannedDevice? Shown { get; init; }
}

public enum AttachmentPhase
{
    Opening,
    Running,
    PreCopy,
    Stopped,
    Receiving,
    Loaded,
    Failed,
}

/// <summary>What a consumer saw in its own memory.</summary>
/// <param name="LongestGapMs">Longest time without a new step since its last migration began, milliseconds.</param>
public sealed record WorkloadCounters(long Steps, long Lost, long Repeated, long Torn, double LongestGapMs) : IWireMessage
{
    public static WorkloadCounters None { get; } = new(0, 0, 0, 0, 0);
}

/// <param name="Damaged">Records and counters that are not what the step count says they should be.</param>
public sealed record VerificationResult(long Steps, long MemoryRecords, long DeviceCells, long Damaged) : IWireMessage;
