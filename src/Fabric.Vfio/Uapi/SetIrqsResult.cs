namespace Fabric.Vfio.Uapi;

/// <summary>
/// What VFIO_DEVICE_SET_IRQS came to: done, refused with an errno, or nothing done because fewer vectors are to be had than asked
/// for. The last is no success, though ioctl(2) returns it as a positive number.
/// </summary>
public readonly record struct SetIrqsResult
{
    private SetIrqsResult(VfioError error, int available)
    {
        Error = error;
        Available = available;
    }

    public static SetIrqsResult Done => default;

    /// <summary>None where the request was done, and where fewer vectors are available.</summary>
    public VfioError Error { get; }

    /// <summary>Vectors that could have been enabled, where that is fewer than asked for; else 0.</summary>
    public int Available { get; }

    /// <summary>The request was done, wholly.</summary>
    public bool IsDone => Error.Errno == Errno.None && Available == 0;

    /// <summary>What ioctl(2) returns: 0, the negative errno, or the number of vectors available.</summary>
    public int ReturnValue => Error.Errno == Errno.None ? Available : -(int)Error.Errno;

    /// <param name="available">At least 1.</param>
    public static SetIrqsResult Fewer(int available) => new(default, available);

    public static implicit operator SetIrqsResult(VfioError error) => new(error, 0);

    public static implicit operator SetIrqsResult(VfioResult result) => new(result.Error, 0);
}
