using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>The one target of ERR or REQ (contract §2.5). It can be signalled from any thread while it is replaced (LC-36).</summary>
internal sealed class EventTrigger
{
    private IEventTarget? target;

    public bool IsRegistered => Volatile.Read(ref target) is not null;

    /// <summary>False where nobody is registered.</summary>
    public bool Signal()
    {
        var registered = Volatile.Read(ref target);                     // once: whoever is replaced now gets this signal or none
        registered?.Signal();
        return registered is not null;
    }

    public void Clear() => Volatile.Write(ref target, null);

    /// <summary>TRIGGER without data: signals, or with a count of 0 clears. Errors: EINVAL where nobody is registered.</summary>
    public VfioResult Trigger(int count)
    {
        if (!IsRegistered)
            return VfioResult.Fail(Errno.EINVAL, "No eventfd is registered for this interrupt; register one with DATA_EVENTFD first.");
        if (count == 0)
            Clear();
        else
            Signal();
        return VfioResult.Ok;
    }

    /// <summary>TRIGGER with one bool. Errors: EINVAL without it.</summary>
    public VfioResult Trigger(ReadOnlySpan<byte> bools)
    {
        if (bools.IsEmpty)
            return NoVector;
        if (bools[0] != 0)
            Signal();
        return VfioResult.Ok;
    }

    /// <summary>Registers, replaces or (-1) clears the target. Errors: EINVAL without one or for one below -1, EBADF, EINVAL (IO-47).</summary>
    public VfioResult Register(ReadOnlySpan<EventRef> events)
    {
        if (events.IsEmpty)
            return NoVector;
        if (events[0].Fd < -1)
            return VfioResult.Fail(Errno.EINVAL, "A file descriptor below -1 means nothing here; give that of an eventfd, or -1 for none.");
        if (events[0].Resolve(out var registered) is { Errno: not Errno.None } wrong)
            return wrong;
        Volatile.Write(ref target, registered);
        return VfioResult.Ok;
    }

    private static VfioResult NoVector =>
        VfioResult.Fail(Errno.EINVAL, "This interrupt takes its data for exactly one vector; set count to 1.");
}
