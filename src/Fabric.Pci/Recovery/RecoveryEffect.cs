using System.Diagnostics;

namespace Fabric.Pci.Recovery;

public enum RecoveryOutcome
{
    Recovered,
    Failed,
}

/// <summary>
/// What a <see cref="RecoveryMachine"/> wants done next. Broadcasts go to every function in scope, in bus-walk order.
/// </summary>
public abstract record RecoveryEffect
{
    private RecoveryEffect()
    {
    }

    /// <summary>
    /// The channel state to store in every function before its callback runs, or null to leave what is stored. The last broadcast of
    /// a failed recovery announces a permanent failure but stores nothing (step 8).
    /// </summary>
    public ChannelState? StoredChannel => this switch
    {
        ErrorDetected detected => detected.State,
        SlotReset or Resume => ChannelState.Normal,
        MmioEnabled or ResetLink or PermanentFailure or Finished => null,
        _ => throw new UnreachableException(),
    };

    /// <summary>Broadcast error_detected and collect the votes (step 2).</summary>
    public sealed record ErrorDetected(ChannelState State) : RecoveryEffect;

    /// <summary>Broadcast mmio_enabled and collect the votes (step 3).</summary>
    public sealed record MmioEnabled : RecoveryEffect;

    /// <summary>Reset the link, or the function where there is no link, without saving or restoring config space (step 4).</summary>
    public sealed record ResetLink : RecoveryEffect;

    /// <summary>Broadcast slot_reset and collect the votes (step 5).</summary>
    public sealed record SlotReset : RecoveryEffect;

    /// <summary>Broadcast resume, report success; then clear the error status if the OS owns AER (step 7).</summary>
    public sealed record Resume : RecoveryEffect;

    /// <summary>Broadcast error_detected(permanent failure), report failure (step 8).</summary>
    public sealed record PermanentFailure : RecoveryEffect;

    /// <summary>Nothing is left to do.</summary>
    public sealed record Finished(RecoveryOutcome Outcome) : RecoveryEffect;
}
