using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Migration;

/// <summary>
/// A driver's half of a data stream: makes state or takes it, and knows nothing of migration states. <see cref="MigrationMachine"/> calls
/// it from any thread, but never two calls at once, and none while the driver performs an arc. A driver implements what its direction needs.
/// </summary>
public interface IMigrationData
{
    /// <summary>Reads up to the destination's length; 0 when there is nothing now. Its errors are the holder's.</summary>
    VfioResult<int> Read(Span<byte> destination) => new VfioError(Errno.EINVAL, "This migration stream loads; it is written, not read.");

    /// <summary>Takes all of the source, in any chunks. Its errors are the holder's.</summary>
    VfioResult Write(ReadOnlySpan<byte> source) => VfioResult.Fail(Errno.EINVAL, "This migration stream saves; it is read, not written.");

    /// <summary>
    /// What is left, in PRE_COPY* (MG-25). <see cref="PrecopyInfo.Reinit"/> tells once that a fresh start-up set appeared (MG-26).
    /// </summary>
    VfioResult<PrecopyInfo> GetPrecopyInfo() => new VfioError(Errno.EINVAL, "PRECOPY_INFO is for a stream that saves.");

    /// <summary>Nothing will be asked of it any more.</summary>
    void Close()
    {
    }
}
