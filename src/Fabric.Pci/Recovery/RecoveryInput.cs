using System.Collections.Immutable;

namespace Fabric.Pci.Recovery;

/// <summary>What became of the effect that a <see cref="RecoveryMachine"/> asked for.</summary>
public abstract record RecoveryInput
{
    private RecoveryInput()
    {
    }

    /// <summary>
    /// A broadcast is over. Holds the votes in bus-walk order; a function without the callback casts none (ER-2). Votes on
    /// <see cref="RecoveryEffect.Resume"/> and <see cref="RecoveryEffect.PermanentFailure"/> are not looked at.
    /// </summary>
    public sealed record Votes(ImmutableArray<RecoveryVote> InWalkOrder) : RecoveryInput
    {
        public ImmutableArray<RecoveryVote> InWalkOrder { get; } = InWalkOrder.IsDefault ? [] : InWalkOrder;
    }

    /// <summary>The link reset is over; anything but <see cref="RecoveryVote.Recovered"/> is a failure.</summary>
    public sealed record LinkReset(RecoveryVote Result) : RecoveryInput;
}
