namespace Fabric.Vfio.Migration;

/// <summary>
/// The data fd of a migration (MG-20): bulk state goes through it, never through a message. One reader or writer at a time, from its own
/// thread; the driver that made it may disable it at any moment, after which every call gives ENODEV (MG-21).
/// </summary>
public interface IMigrationStream
{
    /// <summary>
    /// Reads up to the destination's length. 0 is the end, in STOP_COPY only. Errors: ENOMSG when there is nothing yet in PRE_COPY
    /// (MG-22), ENODEV, EINVAL on a stream to be written.
    /// </summary>
    VfioResult<int> Read(Span<byte> destination);

    /// <summary>Writes in order, in any chunks (MG-23). Errors: EINVAL for content that is not this device's, ENODEV.</summary>
    VfioResult Write(ReadOnlySpan<byte> source);

    /// <summary>PRECOPY_INFO (MG-25). Errors: EINVAL outside PRE_COPY, ENODEV.</summary>
    VfioResult<Uapi.PrecopyInfo> GetPrecopyInfo();
}
