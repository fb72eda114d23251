namespace Fabric.Pci.Recovery;

/// <summary>
/// The PCI core's recovery from one uncorrectable error, as a value (contract §4.3). Perform <see cref="Next"/>, give what came of
/// it to <see cref="Step"/>, and go on with the machine that returns, until Next is <see cref="RecoveryEffect.Finished"/>.
/// </summary>
public sealed record RecoveryMachine
{
    private RecoveryMachine(ChannelState channel, RecoveryVote status, RecoveryEffect next) =>
        (Channel, Status, Next) = (channel, status, next);

    /// <summary>The state that the error put the channel in.</summary>
    public ChannelState Channel { get; private init; }

    /// <summary>
    /// The votes merged so far. After a failed link reset it still is what it was before it, Recovered perhaps: the outcome is in
    /// <see cref="RecoveryEffect.Finished"/>, not here.
    /// </summary>
    public RecoveryVote Status { get; private init; }

    public RecoveryEffect Next { get; private init; }

    /// <summary>Step 1.</summary>
    /// <param name="channel">Normal for a non-fatal error, frozen for a fatal one or a containment (§4.2).</param>
    /// <exception cref="ArgumentOutOfRangeException">A permanent failure, or no channel state: there is nothing to recover.</exception>
    public static RecoveryMachine Start(ChannelState channel) => channel is ChannelState.Normal or ChannelState.Frozen
        ? new RecoveryMachine(channel, RecoveryVote.CanRecover, new RecoveryEffect.ErrorDetected(channel))
        : throw new ArgumentOutOfRangeException(nameof(channel), channel, "Only a normal or a frozen channel can be recovered.");

    /// <exception cref="InvalidOperationException">The input does not answer <see cref="Next"/>.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A vote is not one of the six.</exception>
    public RecoveryMachine Step(RecoveryInput input) => (Next, input) switch
    {
        (RecoveryEffect.ErrorDetected, RecoveryInput.Votes votes) => Merge(votes).EnableMmio(),
        (RecoveryEffect.MmioEnabled, RecoveryInput.Votes votes) => Merge(votes).ResetLink(),
        (RecoveryEffect.ResetLink, RecoveryInput.LinkReset { Result: RecoveryVote.Recovered }) => ResetSlot(),
        (RecoveryEffect.ResetLink, RecoveryInput.LinkReset) => this with { Next = new RecoveryEffect.PermanentFailure() },
        (RecoveryEffect.SlotReset, RecoveryInput.Votes votes) => Merge(votes).Conclude(),
        (RecoveryEffect.Resume, RecoveryInput.Votes) => Finish(RecoveryOutcome.Recovered),
        (RecoveryEffect.PermanentFailure, RecoveryInput.Votes) => Finish(RecoveryOutcome.Failed),
        _ => throw new InvalidOperationException($"{input.GetType().Name} does not answer {Next.GetType().Name}."),
    };

    private RecoveryMachine Merge(RecoveryInput.Votes votes)
    {
        var status = Status;
        foreach (var vote in votes.InWalkOrder)
            status = VoteMerge.Merge(status, vote);
        return this with { Status = status };
    }

    /// <summary>Step 3. The channel is not looked at: a frozen one too gets mmio_enabled before its link is reset .</summary>
    private RecoveryMachine EnableMmio() => Status == RecoveryVote.CanRecover
        ? this with { Status = RecoveryVote.Recovered, Next = new RecoveryEffect.MmioEnabled() }
        : ResetLink();

    /// <summary>Step 4. A frozen link is reset even when a vote has already doomed the recovery (ER-12).</summary>
    private RecoveryMachine ResetLink() => Status == RecoveryVote.NeedReset || Channel == ChannelState.Frozen
        ? this with { Next = new RecoveryEffect.ResetLink() }
        : Conclude();

    /// <summary>Step 5. When all voted CanRecover the status is Recovered by now, and slot_reset is left out (ER-10).</summary>
    private RecoveryMachine ResetSlot() => Status == RecoveryVote.NeedReset
        ? this with { Status = RecoveryVote.Recovered, Next = new RecoveryEffect.SlotReset() }
        : Conclude();

    /// <summary>Step 6.</summary>
    private RecoveryMachine Conclude() => Status == RecoveryVote.Recovered
        ? this with { Next = new RecoveryEffect.Resume() }
        : this with { Next = new RecoveryEffect.PermanentFailure() };

    private RecoveryMachine Finish(RecoveryOutcome outcome) => this with { Next = new RecoveryEffect.Finished(outcome) };
}
