using System.Collections.Immutable;
using System.Runtime.CompilerServices;

namespace Fabric.Vfio.Uapi;

/// <summary>Features of VFIO_DEVICE_FEATURE (contract §2.9).</summary>
public enum DeviceFeature : ushort
{
    PciVfToken = 0,
    Migration = 1,
    MigDeviceState = 2,
    LowPowerEntry = 3,
    LowPowerEntryWithWakeup = 4,
    LowPowerExit = 5,
    DmaLoggingStart = 6,
    DmaLoggingStop = 7,
    DmaLoggingReport = 8,
    MigDataSize = 9,
    BusMaster = 10,
    DmaBuf = 11,
    MigPrecopyInfoV2 = 12,
    ZpciError = 13,
}

/// <summary>What is asked of a feature: the upper half of the request's flags.</summary>
[Flags]
public enum FeatureOps : uint
{
    None = 0,
    Get = 1 << 16,
    Set = 1 << 17,
    Probe = 1 << 18,
}

/// <summary>What is left to do after the checks: answer 0 at once, or one operation.</summary>
public enum FeatureAction
{
    Probe,
    Get,
    Set,
}

/// <summary>A feature of the table in contract §2.9.</summary>
/// <param name="Ops">What a device that has the feature does for it.</param>
/// <param name="PayloadSize">Bytes past the head that a GET or SET needs at least.</param>
/// <param name="ByFramework">Answered before the driver is asked (IO-82).</param>
public sealed record FeatureRow(DeviceFeature Feature, string Name, FeatureOps Ops, int PayloadSize, bool ByFramework);

/// <summary>The features as data, by number.</summary>
public static class FeatureTable
{
    public static ImmutableArray<FeatureRow> All { get; } =
    [
        Row<VfToken>("PCI_VF_TOKEN", FeatureOps.Set),
        Row<VfioDeviceFeatureMigration>("MIGRATION", FeatureOps.Get, byFramework: true),
        Row<VfioDeviceFeatureMigState>("MIG_DEVICE_STATE", FeatureOps.Get | FeatureOps.Set, byFramework: true),
        Bare(DeviceFeature.LowPowerEntry, "LOW_POWER_ENTRY"),
        Row<VfioDeviceLowPowerEntryWithWakeup>("LOW_POWER_ENTRY_WITH_WAKEUP", FeatureOps.Set),
        Bare(DeviceFeature.LowPowerExit, "LOW_POWER_EXIT"),
        Row<VfioDeviceFeatureDmaLoggingControl>("DMA_LOGGING_START", FeatureOps.Set, byFramework: true),
        Bare(DeviceFeature.DmaLoggingStop, "DMA_LOGGING_STOP", byFramework: true),
        Row<VfioDeviceFeatureDmaLoggingReport>("DMA_LOGGING_REPORT", FeatureOps.Get, byFramework: true),
        Row<VfioDeviceFeatureMigDataSize>("MIG_DATA_SIZE", FeatureOps.Get, byFramework: true),
        Row<VfioDeviceFeatureBusMaster>("BUS_MASTER", FeatureOps.Set),
        Row<VfioDeviceFeatureDmaBuf>("DMA_BUF", FeatureOps.Get),
        Bare(DeviceFeature.MigPrecopyInfoV2, "MIG_PRECOPY_INFOv2", byFramework: true),
        Row<VfioDeviceFeatureZpciErr>("ZPCI_ERROR", FeatureOps.Get),
    ];

    /// <summary>Null for a number that is no feature.</summary>
    public static FeatureRow? Find(DeviceFeature feature) => (int)feature < All.Length ? All[(int)feature] : null;

    private static FeatureRow Row<T>(string name, FeatureOps ops, bool byFramework = false) where T : unmanaged, IFeaturePayload<T> =>
        new(T.Feature, name, ops, Unsafe.SizeOf<T>(), byFramework);

    private static FeatureRow Bare(DeviceFeature feature, string name, bool byFramework = false) =>
        new(feature, name, FeatureOps.Set, 0, byFramework);
}

/// <summary>The head of DEVICE_FEATURE; the feature's payload follows.</summary>
/// <param name="Flags">The feature's number in the lower half, <see cref="FeatureOps"/> in the upper.</param>
public readonly record struct VfioDeviceFeature(uint Argsz, uint Flags) : IUapiRequest<VfioDeviceFeature>
{
    private const FeatureOps Known = FeatureOps.Get | FeatureOps.Set | FeatureOps.Probe;

    public DeviceFeature Feature => (DeviceFeature)(ushort)Flags;

    public FeatureOps Ops => (FeatureOps)(Flags & 0xffff_0000);

    public static VfioDeviceFeature Of(DeviceFeature feature, FeatureOps ops, int payloadSize) =>
        new((uint)(VfioDeviceFeature.WireSize + payloadSize), (uint)feature | (uint)ops);

    /// <summary>IO-80. Errors: EINVAL for unknown flags, and for GET and SET together where nothing is only probed.</summary>
    public static VfioResult Check(VfioDeviceFeature value)
    {
        if ((value.Ops & ~Known) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DEVICE_FEATURE: a flag is not known; use get, set and probe.");
        if ((value.Ops & Known) == (FeatureOps.Get | FeatureOps.Set))
            return VfioResult.Fail(Errno.EINVAL, "DEVICE_FEATURE: get and set go together only in a probe; ask for one of them.");
        return VfioResult.Ok;
    }

    /// <summary>
    /// IO-81, for a head that passed IO-80: what is left to do. Errors, in this order: ENOTTY for a feature the device does not have, EINVAL
    /// for an operation the feature does not have, EINVAL for none, EINVAL for an argsz that does not cover the payload.
    /// </summary>
    /// <param name="feature">The feature as this device has it; null where it has not.</param>
    public VfioResult<FeatureAction> Plan(FeatureRow? feature)
    {
        if (feature is null)
            return new VfioError(Errno.ENOTTY, "DEVICE_FEATURE: the device does not have this feature; probe before use.");
        if ((Ops & ~feature.Ops & (FeatureOps.Get | FeatureOps.Set)) != 0)
            return new VfioError(Errno.EINVAL, "DEVICE_FEATURE: the feature does not have this operation; probe with get or set first.");
        if ((Ops & FeatureOps.Probe) != 0)
            return FeatureAction.Probe;
        if ((Ops & (FeatureOps.Get | FeatureOps.Set)) == 0)
            return new VfioError(Errno.EINVAL, "DEVICE_FEATURE: nothing is asked of the feature; set get, set or probe.");
        if (Argsz < (uint)(VfioDeviceFeature.WireSize + feature.PayloadSize))
            return new VfioError(Errno.EINVAL, "DEVICE_FEATURE: argsz does not cover the feature's payload.");
        return (Ops & FeatureOps.Get) != 0 ? FeatureAction.Get : FeatureAction.Set;
    }
}
