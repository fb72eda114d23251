namespace Fabric.Vfio.Core;

/// <summary>The features that the core answers (IO-82), with the kernel's numbers.</summary>
public enum CoreFeature
{
    VfToken = 0,
    LowPowerEntry = 3,
    LowPowerEntryWithWakeup = 4,
    LowPowerExit = 5,

    /// <summary>The CDX bus's alone: ENOTTY on PCI.</summary>
    BusMaster = 10,

    DmaBuf = 11,

    /// <summary>s390's alone: ENOTTY elsewhere.</summary>
    ZpciError = 13,
}

[Flags]
public enum FeatureOperations
{
    None = 0,
    Get = 1 << 0,
    Set = 1 << 1,
}
