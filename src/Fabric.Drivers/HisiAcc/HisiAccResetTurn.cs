namespace Fabric.Drivers.HisiAcc;

/// <summary>
/// A VF is reset while nothing else of its card is: it takes the resetting bit of the PF's queue manager first, and waits for it up to a minute
/// (VD-HIS-4). When that is over, or the PF's driver has gone, it is reset without.
/// </summary>
internal sealed class HisiAccResetTurn(HisiAccPfCommands physical, TimeProvider time)
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LookFor = TimeSpan.FromSeconds(60);

    private long? since;
    private bool isTaken;

    /// <summary>Null when the reset may be done; else look again so much later.</summary>
    public TimeSpan? Take()
    {
        since ??= time.GetTimestamp();
        var claimed = physical.ClaimReset();
        isTaken = claimed is { IsOk: true, Value: true };
        if (claimed is { IsOk: true, Value: false } && time.GetElapsedTime(since.Value) < LookFor)
            return LookEvery;
        since = null;
        return null;
    }

    /// <summary>The reset is done, or failed: the bit is given back, if it was taken.</summary>
    public void Release()
    {
        if (isTaken)
            physical.ReleaseReset();
        isTaken = false;
    }
}
