using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio.Migration;

namespace Fabric.Vfio.Uapi;

#pragma warning disable CA1000 // The rule takes the block of a static extension for a generic type: nobody has to name one here.

/// <summary>What follows the head of DEVICE_FEATURE for one feature.</summary>
public interface IFeaturePayload<TSelf> : IUapiStruct<TSelf> where TSelf : unmanaged, IFeaturePayload<TSelf>
{
    static abstract DeviceFeature Feature { get; }
}

/// <summary>Payloads within a whole DEVICE_FEATURE buffer, head included.</summary>
public static class FeatureCodec
{
    extension<T>(T payload) where T : unmanaged, IFeaturePayload<T>
    {
        /// <summary>
        /// The payload of a request that <see cref="VfioDeviceFeature.Plan"/> let pass. Errors: EFAULT where the buffer ends before it does,
        /// then those of the payload's own check.
        /// </summary>
        public static VfioResult<T> DecodePayload(ReadOnlySpan<byte> request)
        {
            if (request.Length < VfioDeviceFeature.WireSize || !MemoryMarshal.TryRead(request[VfioDeviceFeature.WireSize..], out T read))
                return UapiCodec.MemoryRefusal<T>();
            var check = T.Check(read);
            return check.IsOk ? read : check.Error;
        }

        /// <summary>
        /// Answers a GET, or writes back what a SET chose. The head stays as it is. Errors: EINVAL for an argsz below the payload's end,
        /// EFAULT for such a buffer; nothing is written then.
        /// </summary>
        public VfioResult EncodePayload(Span<byte> buffer, uint argsz)
        {
            var size = VfioDeviceFeature.WireSize + Unsafe.SizeOf<T>();
            if (argsz < (uint)size)
                return VfioResult.Fail(Errno.EINVAL, "DEVICE_FEATURE: argsz does not cover the feature's payload.");
            return buffer.Length < size ? UapiCodec.MemoryRefusal<T>() : payload.Encode(buffer[VfioDeviceFeature.WireSize..]);
        }

        /// <summary>A whole request, as a client sends it. Errors: EFAULT for a buffer shorter than head and payload.</summary>
        public VfioResult EncodeRequest(Span<byte> buffer, FeatureOps ops)
        {
            if (buffer.Length < VfioDeviceFeature.WireSize + Unsafe.SizeOf<T>())
                return UapiCodec.MemoryRefusal<T>();
            VfioDeviceFeature.Of(T.Feature, ops, Unsafe.SizeOf<T>()).Encode(buffer);
            return payload.Encode(buffer[VfioDeviceFeature.WireSize..]);
        }
    }
}

/// <summary>PCI_VF_TOKEN (LC-40): 16 raw bytes, in the order in which the token's text names them.</summary>
public readonly record struct VfToken : IFeaturePayload<VfToken>
{
    private readonly ulong first;
    private readonly ulong second;

    public VfToken(Guid uuid)
    {
        Span<byte> bytes = stackalloc byte[16];
        uuid.TryWriteBytes(bytes, bigEndian: true, out _);
        first = MemoryMarshal.Read<ulong>(bytes);
        second = MemoryMarshal.Read<ulong>(bytes[sizeof(ulong)..]);
    }

    public static DeviceFeature Feature => DeviceFeature.PciVfToken;

    public Guid Uuid
    {
        get
        {
            var self = this;
            return new Guid(MemoryMarshal.AsBytes(new ReadOnlySpan<VfToken>(in self)), bigEndian: true);
        }
    }
}

/// <summary>MIGRATION (MG-5).</summary>
public readonly record struct VfioDeviceFeatureMigration(ulong Flags) : IFeaturePayload<VfioDeviceFeatureMigration>
{
    public VfioDeviceFeatureMigration(MigrationFlags flags)
        : this((ulong)flags)
    {
    }

    public static DeviceFeature Feature => DeviceFeature.Migration;

    /// <summary>The flags that this interface knows; a newer one may have more.</summary>
    public MigrationFlags Known => (MigrationFlags)Flags & (MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy);
}

/// <summary>MIG_DEVICE_STATE (IO-83).</summary>
/// <param name="DataFd">Out: the stream, -1 where there is none.</param>
public readonly record struct VfioDeviceFeatureMigState(MigrationState DeviceState, int DataFd = -1) : IFeaturePayload<VfioDeviceFeatureMigState>
{
    public static DeviceFeature Feature => DeviceFeature.MigDeviceState;
}

/// <summary>LOW_POWER_ENTRY_WITH_WAKEUP (LC-62).</summary>
public readonly record struct VfioDeviceLowPowerEntryWithWakeup(int WakeupEventfd, uint Reserved = 0)
    : IFeaturePayload<VfioDeviceLowPowerEntryWithWakeup>
{
    public static DeviceFeature Feature => DeviceFeature.LowPowerEntryWithWakeup;

    /// <summary>Errors: EINVAL for a negative descriptor.</summary>
    public static VfioResult Check(VfioDeviceLowPowerEntryWithWakeup value) => value.WakeupEventfd >= 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "LOW_POWER_ENTRY_WITH_WAKEUP needs an eventfd; without one use LOW_POWER_ENTRY.");
}

/// <summary>DMA_LOGGING_START (MG-40). The page size is a hint; <paramref name="Ranges"/> is an address.</summary>
public readonly record struct VfioDeviceFeatureDmaLoggingControl(ulong PageSize, uint NumRanges, uint Reserved, ulong Ranges)
    : IFeaturePayload<VfioDeviceFeatureDmaLoggingControl>
{
    /// <summary>A page of them.</summary>
    public const int MaxRanges = 4096 / 16;

    public static DeviceFeature Feature => DeviceFeature.DmaLoggingStart;

    /// <summary>Errors: EINVAL for no range, E2BIG for more than <see cref="MaxRanges"/>.</summary>
    public static VfioResult Check(VfioDeviceFeatureDmaLoggingControl value) => value.NumRanges switch
    {
        0 => VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_START: there is no range to log; give at least one."),
        > MaxRanges => VfioResult.Fail(Errno.E2BIG, "DMA_LOGGING_START: 256 ranges are the limit; merge some."),
        _ => VfioResult.Ok,
    };
}

/// <summary>One of the ranges that DMA_LOGGING_START points to.</summary>
public readonly record struct VfioDeviceFeatureDmaLoggingRange(ulong Iova, ulong Length) : IUapiStruct<VfioDeviceFeatureDmaLoggingRange>;

/// <summary>DMA_LOGGING_REPORT (MG-41). One bit for every page; <paramref name="Bitmap"/> is an address.</summary>
public readonly record struct VfioDeviceFeatureDmaLoggingReport(ulong Iova, ulong Length, ulong PageSize, ulong Bitmap)
    : IFeaturePayload<VfioDeviceFeatureDmaLoggingReport>
{
    public static DeviceFeature Feature => DeviceFeature.DmaLoggingReport;

    /// <summary>Errors: EINVAL for a page size below 4096 or no power of two, EOVERFLOW for a range past the end of the space.</summary>
    public static VfioResult Check(VfioDeviceFeatureDmaLoggingReport value)
    {
        if (value.PageSize < 4096 || !ulong.IsPow2(value.PageSize))
            return VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_REPORT: the page size must be a power of two, 4096 at least.");
        if (value.Iova + value.Length < value.Iova)
            return VfioResult.Fail(Errno.EOVERFLOW, "DMA_LOGGING_REPORT: the range runs past the end of the address space.");
        return VfioResult.Ok;
    }
}

/// <summary>MIG_DATA_SIZE (MG-27), in bytes.</summary>
public readonly record struct VfioDeviceFeatureMigDataSize(ulong StopCopyLength) : IFeaturePayload<VfioDeviceFeatureMigDataSize>
{
    public static DeviceFeature Feature => DeviceFeature.MigDataSize;
}

/// <summary>BUS_MASTER, of the CDX bus alone: 0 clears it, 1 sets it.</summary>
public readonly record struct VfioDeviceFeatureBusMaster(uint Op) : IFeaturePayload<VfioDeviceFeatureBusMaster>
{
    public static DeviceFeature Feature => DeviceFeature.BusMaster;
}

/// <summary>The head of DMA_BUF (IO-90); <paramref name="NrRanges"/> ranges of the BAR follow.</summary>
public readonly record struct VfioDeviceFeatureDmaBuf(uint RegionIndex, uint OpenFlags, uint Flags, uint NrRanges)
    : IFeaturePayload<VfioDeviceFeatureDmaBuf>
{
    public static DeviceFeature Feature => DeviceFeature.DmaBuf;

    /// <summary>Errors: EINVAL for no range and for any flag.</summary>
    public static VfioResult Check(VfioDeviceFeatureDmaBuf value) => value.NrRanges != 0 && value.Flags == 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "DMA_BUF: give at least one range, and no flags.");

    /// <summary>The ranges of a request, head of DEVICE_FEATURE included. False: fewer than announced are in the buffer (EFAULT).</summary>
    public bool TryRanges(ReadOnlySpan<byte> request, out ReadOnlySpan<VfioRegionDmaRange> ranges)
    {
        ranges = default;
        var start = VfioDeviceFeature.WireSize + VfioDeviceFeatureDmaBuf.WireSize;
        return request.Length >= start && UapiCodec.TryView(request[start..], NrRanges, out ranges);
    }
}

/// <summary>A piece of a BAR, in bytes.</summary>
public readonly record struct VfioRegionDmaRange(ulong Offset, ulong Length) : IUapiStruct<VfioRegionDmaRange>;

/// <summary>ZPCI_ERROR, of s390 alone.</summary>
public readonly record struct VfioDeviceFeatureZpciErr(ulong Data) : IFeaturePayload<VfioDeviceFeatureZpciErr>
{
    public static DeviceFeature Feature => DeviceFeature.ZpciError;
}
