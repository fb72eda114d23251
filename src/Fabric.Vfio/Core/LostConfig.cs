namespace Fabric.Vfio.Core;

/// <summary>What a reset that nobody told of took from config space (CF-11, ER-10).</summary>
[Flags]
public enum LostConfig
{
    None = 0,

    /// <summary>BARs, and what else of the header a reset clears.</summary>
    Bars = 1 << 0,

    /// <summary>Memory or I/O decode.</summary>
    Decode = 1 << 1,

    BusMaster = 1 << 2,

    /// <summary>Control registers of capabilities: MSI and MSI-X among them.</summary>
    Capabilities = 1 << 3,
}
