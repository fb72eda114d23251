using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// What a driver does for a device that is registered with the core: the kernel's op set, with mig_ops and log_ops beside it (contract §0). A
/// member left as it is here means "unsupported", as an op left empty does in the kernel (FWD-1); <see cref="DeviceOpsInFront"/> forwards.
/// </summary>
public interface IDeviceOps
{
    /// <summary>The device as it is registered: who it is, in which group and set.</summary>
    VfioPciCore Device { get; }

    /// <summary>Migration (mig_ops), which the framework asks itself (IO-82).</summary>
    MigrationMachine? Migration => null;

    /// <summary>The log of DMA (log_ops), which the framework asks itself (IO-82).</summary>
    DirtyLog? DirtyLog => null;

    /// <summary>Attaches to address spaces by PASID: plain vfio-pci's alone (IO-101).</summary>
    bool SupportsPasids => false;

    /// <summary>match_token_uuid (LC-41). Errors: EINVAL for a token where the driver knows none, and those of the core.</summary>
    VfioResult Match(Guid? token) => token is null ? VfioResult.Ok : VfioResult.Fail(Errno.EINVAL, "The device's driver knows no tokens.");

    /// <summary>The first open (LC-20). Errors: the driver's own, and those of the core.</summary>
    /// <param name="hasRawIo">The opener has CAP_SYS_RAWIO.</param>
    VfioResult OpenDevice(bool hasRawIo);

    /// <summary>The last close (LC-30).</summary>
    void CloseDevice();

    /// <summary>Keeps the device awake for one request (IO-2). False where it does not wake.</summary>
    bool Resume() => true;

    /// <summary>The request is over.</summary>
    void Suspend()
    {
    }

    /// <summary>attach_ioas: puts the device's DMA behind an address space. Errors: EINVAL, EBUSY (IO-101).</summary>
    VfioResult AttachIoas(IDmaSpace space) => VfioResult.Fail(Errno.EOPNOTSUPP, "The device's driver attaches it to no address space.");

    /// <summary>detach_ioas: the device's DMA reaches nothing.</summary>
    void DetachIoas()
    {
    }

    /// <summary>get_region_info_caps (IO-20). Errors: EINVAL.</summary>
    VfioResult<RegionInfo> GetRegionInfo(uint index) => new VfioError(Errno.EINVAL, "The device's driver has no regions.");

    /// <summary>ioctl: every request but those that the framework answers itself (IO-3). Errors: ENOTTY for what the driver does not know.</summary>
    VfioResult<DeviceAnswer> Ioctl(DeviceCall call) => new VfioError(Errno.EINVAL, "The device's driver has no ioctls.");

    /// <summary>device_feature: every feature but those that the framework answers itself (IO-82). Errors: ENOTTY, and those of IO-81.</summary>
    VfioResult<DeviceAnswer> Feature(DeviceCall.Feature call) => new VfioError(Errno.ENOTTY, "The device's driver has no features.");

    /// <summary>read (IO-110). Errors: EINVAL, EIO.</summary>
    VfioResult<int> Read(int region, ulong offset, Span<byte> destination) => new VfioError(Errno.EINVAL, "The device's driver is not read.");

    /// <summary>write (IO-110). Errors: EINVAL, EIO.</summary>
    VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source) => new VfioError(Errno.EINVAL, "The device's driver is not written.");

    /// <summary>mmap (IO-114). Errors: EINVAL, and what the BAR's claim failed with.</summary>
    VfioResult<RegionMapping> Map(int region, ulong offset, ulong length, MapOptions options) =>
        new VfioError(Errno.EINVAL, "The device's driver maps no regions.");
}
