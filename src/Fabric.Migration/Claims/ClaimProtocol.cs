using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Claims;

/// <summary>What is sent to a claim, wherever its shard is. Every command is idempotent: it names what it is about, and may come twice.</summary>
public interface IClaimMessage : IWireMessage
{
    string ClaimId { get; }
}

// ---- Commands and queries; answered with ClaimAccepted, ClaimRefused, ClaimDescribed or ClaimVerified ---------------------------------

/// <param name="Host">Where; null leaves it to the fabric.</param>
/// <param name="Device">Which function of that host; null leaves it to the host.</param>
/// <param name="MemoryBytes">Memory of the consumer.</param>
/// <param name="ValidUntil">When the requester stops waiting: what is not created by then is not created later.</param>
public sealed record CreateClaim(
    string ClaimId, string Model, string? Host, string? Device, long MemoryBytes, int StepsPerSecond, string RequestedBy,
    DateTimeOffset ValidUntil) : IClaimMessage;

public sealed record ReleaseClaim(string ClaimId, string RequestedBy) : IClaimMessage;

public sealed record DescribeClaim(string ClaimId) : IClaimMessage;

/// <param name="DowntimeLimitMs">Past it the stop is undone and the source runs again.</param>
/// <param name="BandwidthLimit">Bytes per second of the pre-copy; 0 is none.</param>
public sealed record StartMigration(
    string ClaimId, string TargetHost, int DowntimeLimitMs, int TimeoutMs, long BandwidthLimit, string RequestedBy) : IClaimMessage;

public sealed record CancelMigration(string ClaimId, int Number, string RequestedBy) : IClaimMessage;

/// <summary>Compares all of consumer memory and device state with the step count; the workload stands meanwhile.</summary>
public sealed record VerifyClaim(string ClaimId) : IClaimMessage;

// ---- Replies --------------------------------------------------------------------------------------------------------------------------

/// <summary>The command is in the journal and will be carried out.</summary>
public sealed record ClaimAccepted(ClaimView Claim) : IWireMessage;

/// <summary>Nothing was changed.</summary>
public sealed record ClaimRefused(RefusalCode Code, string Sentence) : IWireMessage;

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
    string Model,
    ClaimPhase Phase,
    string? Host,
    string? Device,
    long Generation,
    string Coordinator,
    string? Message,
    DateTimeOffset CreatedAt,
    WorkloadCounters? Workload,
    MigrationView[] Migrations) : IWireMessage;

public sealed record MigrationView(
    int Number,
    string FromHost,
    string FromDevice,
    string ToHost,
    string ToDevice,
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
    string RequestedBy) : IWireMessage;

public sealed record PhaseView(string Name, double Ms, bool Downtime) : IWireMessage;
