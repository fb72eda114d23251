namespace Fabric.Vfio.Uapi;

/// <summary>Flags of VFIO_DEVICE_SET_IRQS (contract §2.5): one kind of data, one action.</summary>
[Flags]
public enum IrqSetFlags : uint
{
    None = 0,
    DataNone = 1 << 0,
    DataBool = 1 << 1,
    DataEventfd = 1 << 2,
    ActionMask = 1 << 3,
    ActionUnmask = 1 << 4,
    ActionTrigger = 1 << 5,
}

/// <summary>
/// VFIO_DEVICE_SET_IRQS (contract §2.5). Data is one byte or one eventfd a vector, as the flags say; more than <paramref name="Count"/> is
/// ignored, less is EINVAL (IO-40).
/// </summary>
public sealed record SetIrqs(
    uint Index, uint Start, uint Count, IrqSetFlags Flags, ReadOnlyMemory<byte> Bools = default, ReadOnlyMemory<EventRef> Events = default)
{
    /// <summary>Why data is missing that argsz promised (EFAULT), reported only when its turn comes; None where it is there.</summary>
    public VfioError DataFault { get; init; }
}

/// <summary>
/// A file descriptor where an eventfd is wanted, resolved by who received the request: a target, or what is wrong with it. What is wrong is
/// reported only when its turn comes (IO-43).
/// </summary>
/// <param name="Fd">As the caller gave it. -1 stands for none.</param>
/// <param name="Target">The eventfd.</param>
/// <param name="Error">EBADF not open, EINVAL no eventfd (IO-47); None with a target or a negative descriptor.</param>
public readonly record struct EventRef(int Fd, IEventTarget? Target, Errno Error = Errno.None)
{
    public static EventRef None { get; } = new(-1, null);

    public static EventRef Of(IEventTarget target) => new(0, target);

    /// <summary>The target, or null for a negative descriptor. Errors: EBADF, EINVAL (IO-47); None where there is nothing wrong.</summary>
    internal VfioError Resolve(out IEventTarget? target)
    {
        target = Fd < 0 ? null : Target;
        if (Fd < 0 || (Error == Errno.None && Target is not null))
            return default;
        return Error == Errno.EINVAL
            ? new VfioError(Errno.EINVAL, "The file descriptor is not that of an eventfd; make one with eventfd(2).")
            : new VfioError(Errno.EBADF, "The file descriptor is not open; give that of an open eventfd, or -1 for none.");
    }
}
