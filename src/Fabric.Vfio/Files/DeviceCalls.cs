using System.Collections.Immutable;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// An ioctl of a device as a message: <see cref="DeviceDecoder"/> makes it of a caller's bytes, <see cref="DeviceFramework"/> answers it, and
/// <see cref="DeviceEncoder"/> puts the answer into the caller's memory. What is wrong with it, but only comes to light in its turn, it carries.
/// </summary>
/// <param name="Argument">As it was passed: an address in the caller's memory.</param>
/// <param name="Argsz">Bytes that the caller lent there; 0 where the request does not say.</param>
public abstract record DeviceCall(uint Number, ulong Argument, uint Argsz)
{
    /// <summary>Its bytes are refused, once the device has been woken for it (IO-2).</summary>
    public sealed record Malformed(uint Number, VfioError Error) : DeviceCall(Number, 0, 0);

    /// <summary>A number that a device of this kind does not have; a driver may know it.</summary>
    /// <param name="Bytes">As many as the argument's first number says, where it points to them; else none.</param>
    public sealed record Unknown(uint Number, ulong Argument, ReadOnlyMemory<byte> Bytes) : DeviceCall(Number, Argument, (uint)Bytes.Length);

    public sealed record GetInfo(ulong Argument, uint Argsz) : DeviceCall(DeviceIoctls.GetInfo, Argument, Argsz);

    public sealed record GetRegionInfo(ulong Argument, uint Argsz, uint Index) : DeviceCall(DeviceIoctls.GetRegionInfo, Argument, Argsz);

    public sealed record GetIrqInfo(ulong Argument, uint Argsz, uint Index) : DeviceCall(DeviceIoctls.GetIrqInfo, Argument, Argsz);

    public sealed record SetIrqs(Uapi.SetIrqs Request) : DeviceCall(DeviceIoctls.SetIrqs, 0, 0);

    public sealed record Reset() : DeviceCall(DeviceIoctls.Reset, 0, 0);

    public sealed record GetHotResetInfo(ulong Argument, uint Argsz, IHotResetOwnership Caller)
        : DeviceCall(DeviceIoctls.GetPciHotResetInfo, Argument, Argsz);

    public sealed record HotReset(IHotResetOwnership Caller) : DeviceCall(DeviceIoctls.PciHotReset, 0, 0);

    /// <param name="Eventfd">Negative takes one back.</param>
    public sealed record SetIoEventFd(IoEvent Write, EventRef Eventfd) : DeviceCall(DeviceIoctls.Ioeventfd, 0, 0);

    /// <param name="Data">What follows the head, or why that could not be had: looked at when the checks of IO-81 have passed.</param>
    public sealed record Feature(ulong Argument, VfioDeviceFeature Head, VfioResult<FeatureData> Data)
        : DeviceCall(DeviceIoctls.Feature, Argument, Head.Argsz);

    /// <param name="Device">The device in its iommufd.</param>
    public sealed record Attach(ulong Argument, uint PtId, IommufdDevice Device, PasidUse Pasid)
        : DeviceCall(DeviceIoctls.AttachIommufdPt, Argument, 0);

    public sealed record Detach(IommufdDevice Device, PasidUse Pasid) : DeviceCall(DeviceIoctls.DetachIommufdPt, 0, 0);
}

/// <summary>Whether ATTACH or DETACH is for a PASID, and whether argsz covers that (IO-101).</summary>
public enum PasidUse
{
    None,
    Wanted,

    /// <summary>EINVAL, where PASIDs are supported.</summary>
    NotCovered,

    /// <summary>EFAULT, where PASIDs are supported.</summary>
    Unreadable,
}

/// <summary>What follows the head of DEVICE_FEATURE.</summary>
public abstract record FeatureData
{
    private FeatureData()
    {
    }

    /// <summary>Nothing.</summary>
    public sealed record None : FeatureData
    {
        public static None Instance { get; } = new();
    }

    public sealed record Token(Guid Uuid) : FeatureData;

    public sealed record State(MigrationState Target) : FeatureData;

    public sealed record WakeUp(EventRef Eventfd) : FeatureData;

    public sealed record LoggingStart(VfioDeviceFeatureDmaLoggingControl Control, ImmutableArray<LoggingRange> Ranges) : FeatureData;

    public sealed record LoggingReport(VfioDeviceFeatureDmaLoggingReport Report) : FeatureData;

    /// <param name="Fault">Why ranges are missing (EFAULT, ENOMEM).</param>
    public sealed record DmaBuf(uint Region, uint Flags, ImmutableArray<DmaBufRange> Ranges, VfioError Fault) : FeatureData;

    /// <summary>Of a feature that the table does not have: a driver may.</summary>
    public sealed record Raw(ReadOnlyMemory<byte> Bytes) : FeatureData;
}

/// <summary>What a <see cref="DeviceCall"/> came to, where it is no error.</summary>
public abstract record DeviceAnswer
{
    private DeviceAnswer()
    {
    }

    /// <param name="Value">What ioctl(2) returns: 0, but for SET_IRQS with fewer vectors available than asked for .</param>
    public sealed record Done(int Value = 0) : DeviceAnswer
    {
        public static Done Instance { get; } = new();
    }

    public sealed record Info(DeviceInfo Value) : DeviceAnswer;

    public sealed record Region(RegionInfo Value) : DeviceAnswer;

    public sealed record Irq(IrqInfo Value) : DeviceAnswer;

    public sealed record HotReset(HotResetInfo Value) : DeviceAnswer;

    /// <param name="PtId">What it is attached to in the end: the HWPT, where it was asked for by its IOAS.</param>
    public sealed record Attached(uint PtId, IommufdDevice Device) : DeviceAnswer;

    public sealed record Flags(MigrationFlags Value) : DeviceAnswer;

    /// <summary>MIG_DEVICE_STATE: also of a transition that failed, which is answered all the same (IO-83).</summary>
    public sealed record State(MigrationDeviceState Value, VfioError Error = default) : DeviceAnswer;

    public sealed record DataSize(ulong Bytes) : DeviceAnswer;

    public sealed record LoggingStarted(VfioDeviceFeatureDmaLoggingControl Control) : DeviceAnswer;

    /// <param name="Dirty">In ascending order.</param>
    public sealed record Dirtied(VfioDeviceFeatureDmaLoggingReport Report, IReadOnlyList<IovaRange> Dirty) : DeviceAnswer;

    public sealed record Exported(DmaBuf Buffer) : DeviceAnswer;

    /// <summary>A driver's own answer: bytes for the caller's memory, as many as the request lent at most, and what ioctl(2) returns.</summary>
    public sealed record Raw(ReadOnlyMemory<byte> Bytes, int Value = 0) : DeviceAnswer;
}
