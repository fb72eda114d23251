using Fabric.Migration.Claims;
using Fabric.Migration.Wire;

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

/// <summary>Looks whether this host could run a claim of this model, and touches nothing. Answered with <see cref="TargetPlanned"/>.</summary>
/// <param name="StateBytes">Device state the source has; 0 when the claim is new.</param>
/// <param name="Driver">The source's driver, which the target must have; null when the claim is new.</param>
/// <param name="Ids">The source's <c>vendor:device</c>; null when the claim is new.</param>
public sealed record PlanTarget(
    string ClaimId, long Generation, string Model, string? Device, long StateBytes, string? Driver, string? Ids) : IHostCommand;

/// <summary>Opens the device and starts its consumer afresh. Answered with <see cref="Attached"/> or <see cref="CommandFailed"/>.</summary>
public sealed record Attach(string ClaimId, long Generation, string Device, long MemoryBytes, int StepsPerSecond) : IHostCommand;

/// <summary>Opens the device to receive state. Answered with <see cref="TargetPrepared"/> or <see cref="CommandFailed"/>.</summary>
public sealed record PrepareTarget(string ClaimId, long Generation, int Migration, string Device, long MemoryBytes, int StepsPerSecond) : IHostCommand;

/// <summary>Starts to send state while the device runs. Answered with <see cref="PreCopyProgress"/>, again and again.</summary>
public sealed record StartPreCopy(string ClaimId, long Generation, int Migration, string Endpoint, byte[] Token, long BandwidthLimit) : IHostCommand;

/// <summary>Stops consumer and device and sends the rest. Answered with <see cref="SourceStopped"/>, and <see cref="TargetLoaded"/> by the other end.</summary>
public sealed record StopAndCopy(string ClaimId, long Generation, int Migration) : IHostCommand;

/// <summary>After the commit: the target runs. Answered with <see cref="TargetRunning"/>.</summary>
public sealed record RunTarget(string ClaimId, long Generation, int Migration) : IHostCommand;

/// <summary>Given up before the commit: the source runs on. Answered with <see cref="SourceRunning"/>.</summary>
public sealed record ResumeSource(string ClaimId, long Generation, int Migration) : IHostCommand;

/// <summary>Closes the device of this and every older generation, and refuses them from now on. Answered with <see cref="Detached"/>.</summary>
public sealed record Detach(string ClaimId, long Generation) : IHostCommand;

/// <summary>Answered with <see cref="AttachmentVerified"/>.</summary>
public sealed record VerifyAttachment(string ClaimId, long Generation) : IHostCommand;

/// <summary>Asks whether the host still holds what it should. Answered with <see cref="AttachmentStatus"/> or <see cref="CommandFailed"/>.</summary>
public sealed record ReportAttachment(string ClaimId, long Generation) : IHostCommand;

// ---- Reports: from a host to the claim ------------------------------------------------------------------------------------------------

/// <summary>What a host tells a claim; finds it by the shard region's proxy, wherever the claim is by now.</summary>
public interface IHostReport : IClaimMessage
{
    string Host { get; }

    long Generation { get; }
}

/// <param name="Device">The function it would take; null where the answer is no.</param>
/// <param name="Reasons">Why not, each with its remedy; empty where the answer is yes.</param>
public sealed record TargetPlanned(string ClaimId, string Host, long Generation, string? Device, string[] Reasons) : IHostReport;

public sealed record Attached(string ClaimId, string Host, long Generation, string Device) : IHostReport;

/// <param name="Endpoint"><c>ip:port</c> of the data plane.</param>
/// <param name="Token">What the source must show there, once.</param>
public sealed record TargetPrepared(string ClaimId, string Host, long Generation, int Migration, string Endpoint, byte[] Token) : IHostReport;

/// <param name="RoundEnded">Between rounds, <paramref name="RemainingBytes"/> is what a stop now would still have to carry; else the rest of the round.</param>
public sealed record PreCopyProgress(
    string ClaimId, string Host, long Generation, int Migration, int Rounds, long Bytes, long RemainingBytes, long BytesPerSecond,
    bool RoundEnded) : IHostReport;

/// <param name="DrainMs">From the command to the end of the round that was under way; everything ran meanwhile.</param>
/// <param name="QuiesceMs">From there to consumer and device standing.</param>
/// <param name="CopyMs">From there to the last byte acknowledged.</param>
public sealed record SourceStopped(
    string ClaimId, string Host, long Generation, int Migration, long Bytes, string Checksum, int Rounds, double DrainMs, double QuiesceMs,
    double CopyMs) : IHostReport;

/// <param name="LoadMs">From the last byte to the device having accepted its state.</param>
public sealed record TargetLoaded(string ClaimId, string Host, long Generation, int Migration, long Bytes, string Checksum, double LoadMs) : IHostReport;

public sealed record TargetRunning(string ClaimId, string Host, long Generation, int Migration, double StartMs) : IHostReport;

public sealed record SourceRunning(string ClaimId, string Host, long Generation, int Migration) : IHostReport;

public sealed record Detached(string ClaimId, string Host, long Generation) : IHostReport;

/// <summary>A command could not be carried out, or what it started broke.</summary>
/// <param name="Gone">The host has nothing of this claim: whatever it held ended with an earlier life of its daemon.</param>
public sealed record CommandFailed(string ClaimId, string Host, long Generation, string Command, string Reason, bool Gone) : IHostReport;

public sealed record AttachmentVerified(string ClaimId, string Host, long Generation, VerificationResult Result, string? Failure) : IHostReport;

/// <summary>Told every now and then by each host that holds something of a claim, and when asked.</summary>
public sealed record AttachmentStatus(
    string ClaimId, string Host, long Generation, string Device, string? Driver, string? Ids, long StateBytes, AttachmentPhase Phase,
    WorkloadCounters Workload) : IHostReport;

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
