using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Claims;

/// <summary>What is sent to a claim, wherever its shard is. Every command is idempotent: it names what it is about, and may come twice.</summary>
public interface IClaimMessage : IWireMessage
{
    string ClaimId { get; }
}

// ---- Commands and queries; answered with ClaimAccepted, ClaimRefused, ClaimDescribed or ClaimVerified ---------------------------------

/// <summary>One device that is asked for.</summary>
/// <param name="Device">Which function of the host; null leaves it to the host.</param>
public sealed record DeviceAsk(string Model, string? Device = null) : IWireMessage;

/// <summary>One device that a claim has.</summary>
/// <param name="Device">The function's address.</param>
public sealed record ClaimedDevice(string Model, string Device) : IWireMessage;

/// <param name="Devices">At least one; all are on one host.</param>
/// <param name="Host">Where; null leaves it to the fabric.</param>
/// <param name="MemoryBytes">Memory of the consumer.</param>
/// <param name="OnDeviceFailure">What becomes of the claim when its device is taken out of service, or lost.</param>
/// <param name="ValidUntil">When the requester stops waiting: what is not created by then is not created later.</param>
public sealed record CreateClaim(
    string ClaimId, DeviceAsk[] Devices, string? Host, long MemoryBytes, int StepsPerSecond, string RequestedBy,
    DateTimeOffset ValidUntil, DeviceFailurePolicy OnDeviceFailure = DeviceFailurePolicy.Evacuate) : IClaimMessage
{
    /// <summary>What becomes of the claim when its host is lost.</summary>
    public HostLossPolicy OnHostLoss { get; init; }

    /// <summary>Length of the lease under which it runs then, milliseconds; see <see cref="LeaseTerms"/>.</summary>
    public int LeaseMs { get; init; }

    /// <summary>Labels that its host must have, wherever it moves; <c>key=value</c> each.</summary>
    public string[] Select { get; init; } = [];

    /// <summary>A group of claims of which no two are on one host.</summary>
    public string? ApartFrom { get; init; }

    /// <summary>As all below that have it: nothing is changed, and what would be is answered with <see cref="ClaimPlanned"/>.</summary>
    public bool PlanOnly { get; init; }
}

/// <summary>What becomes of a claim whose device is taken out of service, or lost. The numbers are in journals.</summary>
public enum DeviceFailurePolicy
{
    /// <summary>Moved away with its state while that can be read; else it stops, with the reason, and waits for a person.</summary>
    Evacuate = 0,

    /// <summary>Moved away with its state while that can be read; else started afresh elsewhere, when what it ran on has been closed (L1).</summary>
    Restart = 1,

    /// <summary>Nothing is done; the claim says what is wrong.</summary>
    Stay = 2,
}

public sealed record ReleaseClaim(string ClaimId, string RequestedBy) : IClaimMessage
{
    public bool PlanOnly { get; init; }
}

public sealed record DescribeClaim(string ClaimId) : IClaimMessage;

/// <param name="TargetHost">Empty leaves it to the fabric.</param>
/// <param name="DowntimeLimitMs">Past it the stop is undone and the source runs again.</param>
/// <param name="BandwidthLimit">Bytes per second of the pre-copy; 0 is none.</param>
public sealed record StartMigration(
    string ClaimId, string TargetHost, int DowntimeLimitMs, int TimeoutMs, long BandwidthLimit, string RequestedBy,
    NoConvergence OnNoConvergence = NoConvergence.Continue) : IClaimMessage
{
    /// <summary>By which the claim knows a request that comes again: it is carried out once.</summary>
    public string? Request { get; init; }

    /// <summary>W3C, of the request that asks; null where it is not traced.</summary>
    public string? Traceparent { get; init; }

    /// <summary>Where the claim must run still; null wherever it does.</summary>
    public string? From { get; init; }

    /// <summary>Why the fabric asks by itself.</summary>
    public string? Cause { get; init; }

    /// <summary>The plan that must hold still; null for whatever holds now.</summary>
    public string? Plan { get; init; }

    /// <summary>Nothing is changed: every host that may be meant is looked at, and the answer is <see cref="MigrationPlanned"/>.</summary>
    public bool PlanOnly { get; init; }
}

/// <summary>What becomes of a migration whose pre-copy does not converge (<see cref="Convergence"/>). The numbers are in journals.</summary>
public enum NoConvergence
{
    /// <summary>It goes on until it does, or until its timeout.</summary>
    Continue = 0,

    /// <summary>The workload is stopped all the same, for as long as is predicted; twice that is the limit of the stop.</summary>
    Stop = 1,

    /// <summary>It is called off.</summary>
    Cancel = 2,
}

public sealed record CancelMigration(string ClaimId, int Number, string RequestedBy) : IClaimMessage
{
    public bool PlanOnly { get; init; }
}

/// <summary>Compares all of consumer memory and device state with the step count; the workload stands meanwhile.</summary>
public sealed record VerifyClaim(string ClaimId) : IClaimMessage;

// ---- Replies --------------------------------------------------------------------------------------------------------------------------

/// <summary>The command is in the journal and will be carried out.</summary>
public sealed record ClaimAccepted(ClaimView Claim) : IWireMessage;

/// <summary>Nothing was changed.</summary>
public sealed record ClaimRefused(RefusalCode Code, string Sentence) : IWireMessage
{
    /// <summary>As in <see cref="StartMigration.Request"/>.</summary>
    public string? Request { get; init; }
}

/// <summary>What a command would do; nothing was changed.</summary>
public sealed record ClaimPlanned(string Would) : IWireMessage;

/// <summary>Both ends were looked at; nothing was changed.</summary>
/// <param name="Id">By which the migration can be begun for as long as what it stands on is the same; null where no host can take the claim.</param>
/// <param name="Targets">Each host that was asked, the best first.</param>
/// <param name="Reasons">Why others were not asked.</param>
/// <param name="BytesPerSecond">As it was measured last; 0 where nothing has been measured yet.</param>
/// <param name="LeftBytes">What was left for the stop then.</param>
/// <param name="MeasuredBy">The migration that measured it: the claim's last, else the fabric's.</param>
public sealed record MigrationPlanned(
    string ClaimId, string? Id, string From, string[] FromDevices, TargetAnswer[] Targets, string[] Reasons, long StateBytes, long MemoryBytes,
    long BytesPerSecond, long LeftBytes, string? MeasuredBy, double? TotalMs, double? DowntimeMs, int DowntimeLimitMs) : IWireMessage
{
    /// <summary>The functions that the claim has.</summary>
    public PlannedDevice[] Source { get; init; } = [];
}

/// <param name="Devices">The functions that it would take; empty where it can not.</param>
/// <param name="Reasons">Why not, each with its remedy.</param>
public sealed record TargetAnswer(string Host, string[] Devices, string[] Reasons) : IWireMessage
{
    /// <summary>Of <see cref="Devices"/>.</summary>
    public PlannedDevice[] Shown { get; init; } = [];
}

public sealed record ClaimDescribed(ClaimView Claim) : IWireMessage;

public sealed record ClaimVerified(VerificationResult Result) : IWireMessage;

public enum RefusalCode
{
    NotFound,

    /// <summary>Both ends were looked at, and the answer is no.</summary>
    Plan,

    /// <summary>The claim is not in a state for this.</summary>
    Conflict,
    JournalUnavailable,
    Timeout,
}

// ---- What a claim shows ---------------------------------------------------------------------------------------------------------------

public enum ClaimPhase
{
    None,
    Placing,
    Running,
    Migrating,
    Releasing,
    Released,
    Failed,

    /// <summary>Its state is lost: what it ran on is closed, then it is started afresh on another function.</summary>
    Restarting,
}

/// <summary>Where a migration stands. Before <see cref="Run"/> only the source may run, from then on only the target (L1).</summary>
public enum MigrationStep
{
    /// <summary>The target is being opened; the source runs.</summary>
    Reserve,

    /// <summary>State flows; the source runs.</summary>
    PreCopy,

    /// <summary>The source stands, the rest flows.</summary>
    StopCopy,

    /// <summary>Committed; the target is being started.</summary>
    Run,

    /// <summary>The target runs; the source is being closed.</summary>
    Release,

    /// <summary>Given up before the commit; the source is being started again.</summary>
    Rollback,
    Done,
}

/// <param name="Coordinator">The control node that has the claim's shard.</param>
public sealed record ClaimView(
    string Id,
    ClaimedDevice[] Devices,
    ClaimPhase Phase,
    string? Host,
    long Generation,
    string Coordinator,
    string? Message,
    DateTimeOffset CreatedAt,
    WorkloadCounters? Workload,
    MigrationView[] Migrations,
    DeviceFailurePolicy OnDeviceFailure = DeviceFailurePolicy.Evacuate,
    TroubleView? Trouble = null) : IWireMessage
{
    /// <summary>Of the first device.</summary>
    public string Model => Devices[0].Model;

    /// <summary>The first function's address.</summary>
    public string Device => Devices[0].Device;

    /// <summary>Labels that its host must have.</summary>
    public string[] Select { get; init; } = [];

    /// <summary>A group of claims of which no two are on one host.</summary>
    public string? ApartFrom { get; init; }

    public HostLossPolicy OnHostLoss { get; init; }

    /// <summary>Null of a claim that waits for its host.</summary>
    public LeaseView? Lease { get; init; }
}

/// <summary>The lease under which a claim runs whose policy is to start afresh when its host is lost.</summary>
/// <param name="GrantedAt">Null before the first grant, as <paramref name="EndsAt"/>.</param>
/// <param name="EndsAt">No later than this its host has stopped it by itself, if it cannot renew.</param>
public sealed record LeaseView(int LengthMs, DateTimeOffset? GrantedAt, DateTimeOffset? EndsAt) : IWireMessage;

/// <summary>The last time that the device of a claim was taken out of service, or lost, and what became of the claim.</summary>
/// <param name="Readable">Its state could be moved away.</param>
/// <param name="Attempts">Migrations that were started for it.</param>
/// <param name="Outcome"><c>evacuated</c>, <c>restarted-afresh</c>, <c>stopped</c> or <c>released</c>; null while it lasts.</param>
/// <param name="Ms">From the claim hearing of it to the outcome, or to now.</param>
/// <param name="DowntimeMs">How long the workload stood, where it was evacuated.</param>
public sealed record TroubleView(
    string Host,
    string Device,
    string Reason,
    bool Readable,
    DateTimeOffset Since,
    int Attempts,
    string? Outcome,
    string? ToHost,
    string? ToDevice,
    double Ms,
    double? DowntimeMs) : IWireMessage;

/// <param name="DirtyBytesPerSecond">How fast the state changed, measured in the last round; null where it was not.</param>
public sealed record MigrationView(
    int Number,
    string FromHost,
    string[] FromDevices,
    string ToHost,
    string[] ToDevices,
    MigrationStep Step,
    string? Outcome,
    string? Reason,
    DateTimeOffset StartedAt,
    double TotalMs,
    double? DowntimeMs,
    int DowntimeLimitMs,
    long Bytes,
    long RemainingBytes,
    long BytesPerSecond,
    int Rounds,
    bool Verified,
    string? Checksum,
    PhaseView[] Phases,
    string RequestedBy,
    string? Cause = null,
    NoConvergence OnNoConvergence = NoConvergence.Continue,
    long? DirtyBytesPerSecond = null) : IWireMessage
{
    /// <summary>The first function's address, as each of the others in the same order.</summary>
    public string FromDevice => FromDevices[0];

    public string ToDevice => ToDevices[0];

    /// <summary>As in <see cref="StartMigration.Request"/>.</summary>
    public string? Request { get; init; }

    /// <summary>What was predicted for the stop when it began, milliseconds; null before.</summary>
    public double? PredictedDowntimeMs { get; init; }

    public int TimeoutMs { get; init; }

    public long BandwidthLimit { get; init; }

    /// <summary>What its connections carried when the stop began; 0 before.</summary>
    public long RateAtStop { get; init; }
}

public sealed record PhaseView(string Name, double Ms, bool Downtime) : IWireMessage;
