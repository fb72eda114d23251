namespace Fabric.Pci.Recovery;

/// <summary>Whether I/O can reach a function, with the kernel's numbers (contract §4.2).</summary>
public enum ChannelState
{
    /// <summary>I/O works.</summary>
    Normal = 1,

    /// <summary>I/O is blocked until the link has been reset.</summary>
    Frozen = 2,

    /// <summary>The function is gone. There is no way out of this state.</summary>
    PermanentFailure = 3,
}
