using static Fabric.Pci.Recovery.RecoveryVote;

namespace Fabric.Pci.Recovery;

/// <summary>How the votes of many functions become one (contract §4.4).</summary>
public static class VoteMerge
{
    private const int Votes = 6;

    /// <summary>Rows: the status so far. Columns: the vote. Both in the order of the enum.</summary>
    private static ReadOnlySpan<RecoveryVote> Merged =>
    [
        /* None        */ None, None, None, None, None, NoAerDriver,
        /* CanRecover  */ CanRecover, CanRecover, NeedReset, Disconnect, Recovered, NoAerDriver,
        /* NeedReset   */ NeedReset, NeedReset, NeedReset, NeedReset, NeedReset, NoAerDriver,
        /* Disconnect  */ Disconnect, Disconnect, NeedReset, Disconnect, Disconnect, NoAerDriver,
        /* Recovered   */ Recovered, CanRecover, NeedReset, Disconnect, Recovered, NoAerDriver,
        /* NoAerDriver */ NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver,
    ];

    /// <summary>The weight of each vote under EEH, in the order of the enum.</summary>
    private static ReadOnlySpan<byte> EehWeight => [0, 3, 5, 4, 2, 1];

    /// <summary>
    /// The PCI core's merge. Neither commutative nor a maximum: votes must come in bus-walk order (ER-20).
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is not a vote.</exception>
    public static RecoveryVote Merge(RecoveryVote orig, RecoveryVote vote) => Merged[(Index(orig) * Votes) + Index(vote)];

    /// <summary>
    /// The merge of powerpc EEH: the heavier of the two, None &lt; NoAerDriver &lt; Recovered &lt; CanRecover &lt; Disconnect &lt;
    /// NeedReset (ER-21).
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is not a vote.</exception>
    public static RecoveryVote MergeEeh(RecoveryVote orig, RecoveryVote vote) =>
        EehWeight[Index(vote)] > EehWeight[Index(orig)] ? vote : orig;

    private static int Index(RecoveryVote vote) => vote is >= None and <= NoAerDriver
        ? vote - None
        : throw new ArgumentOutOfRangeException(nameof(vote), vote, "Not a recovery vote; votes are 1 to 6.");
}
