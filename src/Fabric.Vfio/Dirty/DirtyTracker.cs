namespace Fabric.Vfio.Dirty;

/// <summary>By what it is known which memory a device wrote (MG-44).</summary>
public enum DirtyTracker
{
    /// <summary>Nothing knows, and the device is not migrated.</summary>
    None,

    /// <summary>The device's own log.</summary>
    DeviceLog,

    /// <summary>The IOMMU's dirty bits.</summary>
    IommuBits,

    /// <summary>Nothing knows: all memory that is mapped counts as dirty, always.</summary>
    EverythingDirty,
}

public static class DirtyTrackers
{
    /// <summary>The one to use: the device's log, else the IOMMU's bits, else none, unless migration is forced (MG-44, contract §6.7).</summary>
    public static DirtyTracker Choose(bool deviceLog, bool iommuBits, bool forced) => (deviceLog, iommuBits, forced) switch
    {
        (true, _, _) => DirtyTracker.DeviceLog,
        (false, true, _) => DirtyTracker.IommuBits,
        (false, false, true) => DirtyTracker.EverythingDirty,
        _ => DirtyTracker.None,
    };
}
