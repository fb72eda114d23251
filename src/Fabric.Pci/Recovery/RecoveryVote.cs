namespace Fabric.Pci.Recovery;

/// <summary>
/// What a driver answers to a recovery callback, and what a link reset comes to, with the kernel's numbers (contract §4.4).
/// </summary>
public enum RecoveryVote
{
    /// <summary>No opinion.</summary>
    None = 1,

    /// <summary>The driver thinks it can go on without a reset.</summary>
    CanRecover = 2,

    /// <summary>The driver wants its slot reset.</summary>
    NeedReset = 3,

    /// <summary>The device is beyond recovery.</summary>
    Disconnect = 4,

    /// <summary>The device works again.</summary>
    Recovered = 5,

    /// <summary>Nobody is there to be asked: no driver, or one without error callbacks.</summary>
    NoAerDriver = 6,
}
