using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Migration;

/// <summary>
/// The data fd of a migration (MG-20): bulk state goes through it, never through a message. One reader or writer at a time, from its own
/// thread; the device may leave the states that it is for at any moment, after which every read and write gives ENODEV (MG-21).
/// </summary>
public interface IMigrationStream
{
    /// <summary>
    /// Reads up to the destination's length. 0 is the end, in STOP_COPY only. Errors: ENOMSG when there is nothing yet in PRE_COPY
    /// (MG-22), ENODEV, EIO in migration state ERROR, EAGAIN while the device is being reset, EINVAL on a stream to be written.
    /// </summary>
    VfioResult<int> Read(Span<byte> destination);

    /// <summary>
    /// Writes in order, in any chunks (MG-23). Errors: EINVAL for content that is not this device's and on a stream to be read, ENODEV, EIO,
    /// EAGAIN as for a read.
    /// </summary>
    VfioResult Write(ReadOnlySpan<byte> source);

    /// <summary>PRECOPY_INFO (MG-25). Errors: EINVAL outside PRE_COPY, ENODEV.</summary>
    VfioResult<PrecopyInfo> GetPrecopyInfo();

    /// <summary>pread(2): a stream has no positions (MG-22). Errors: ESPIPE.</summary>
    VfioResult<int> ReadAt(ulong position, Span<byte> destination) => NoPositions;

    /// <summary>pwrite(2): a stream has no positions (MG-22). Errors: ESPIPE.</summary>
    VfioResult WriteAt(ulong position, ReadOnlySpan<byte> source) => NoPositions;

    /// <summary>
    /// ioctl(2). Errors, in this order (MG-25): ENOTTY for anything but MIG_GET_PRECOPY_INFO, EINVAL for an argsz under 24, then those of
    /// <see cref="GetPrecopyInfo"/>.
    /// </summary>
    VfioResult<PrecopyInfo> Ioctl(uint request, uint argsz);

    /// <summary>close(2), at any time: the state of the device stays as it is (MG-21). Calls after it give EBADF.</summary>
    void Close();

    private static VfioError NoPositions => new(Errno.ESPIPE, "A migration stream has no positions; read and write it in order.");
}
