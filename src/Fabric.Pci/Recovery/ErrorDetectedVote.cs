namespace Fabric.Pci.Recovery;

/// <summary>The votes that are cast for a function without asking its driver (contract §4.3, step 2).</summary>
public static class ErrorDetectedVote
{
    /// <summary>
    /// What a function votes when its <paramref name="stored"/> channel is to become <paramref name="announced"/>, or null when its
    /// driver is the one to say.
    /// </summary>
    /// <param name="disconnected">The function has already been found gone.</param>
    /// <param name="hasCallback">A driver is bound and takes error_detected.</param>
    public static RecoveryVote? WithoutDriver(
        bool disconnected, ChannelState stored, ChannelState announced, bool hasCallback, bool isBridge)
    {
        if (disconnected)
            return RecoveryVote.Disconnect;
        if (stored == ChannelState.PermanentFailure && announced != ChannelState.PermanentFailure)
            return RecoveryVote.None;
        if (hasCallback)
            return null;
        return isBridge ? RecoveryVote.None : RecoveryVote.NoAerDriver;
    }
}
