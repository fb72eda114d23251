using Fabric.Vfio.Dirty;

namespace Fabric.Vfio.Migration;

/// <summary>The features that are answered before the driver is asked (IO-82): whether a device has them.</summary>
public static class MigrationFeatures
{
    private const int Migration = 1;
    private const int DeviceState = 2;
    private const int LoggingStart = 6;
    private const int LoggingStop = 7;
    private const int LoggingReport = 8;
    private const int DataSize = 9;
    private const int PrecopyInfoV2 = 12;

    /// <summary>Whether a feature is one of these; the others are the driver's and the core's.</summary>
    public static bool AnswersTo(int feature) =>
        feature is Migration or DeviceState or LoggingStart or LoggingStop or LoggingReport or DataSize or PrecopyInfoV2;

    /// <summary>
    /// Whether the device has the feature, the first of the checks of IO-81. Errors: ENOTTY without a machine or a log behind it; EINVAL for
    /// PRECOPY_INFOv2 without PRE_COPY, as the kernel has it.
    /// </summary>
    /// <param name="migration">Null where the driver does not migrate.</param>
    /// <param name="log">Null where the driver does not log DMA.</param>
    public static VfioResult Find(int feature, MigrationMachine? migration, DirtyLog? log) => feature switch
    {
        Migration or DeviceState or DataSize when migration is not null => VfioResult.Ok,
        LoggingStart or LoggingStop or LoggingReport when log is not null => VfioResult.Ok,
        PrecopyInfoV2 when migration is not null && (migration.Flags & MigrationFlags.PreCopy) != 0 => VfioResult.Ok,
        PrecopyInfoV2 => VfioResult.Fail(Errno.EINVAL, "The device has no PRE_COPY, so there is no PRECOPY_INFO of it."),
        Migration or DeviceState or DataSize => VfioResult.Fail(Errno.ENOTTY, "The device's driver does not migrate it."),
        LoggingStart or LoggingStop or LoggingReport => VfioResult.Fail(Errno.ENOTTY, "The device's driver does not log its DMA."),
        _ => VfioResult.Fail(Errno.ENOTTY, "This feature is none of migration's."),
    };
}
