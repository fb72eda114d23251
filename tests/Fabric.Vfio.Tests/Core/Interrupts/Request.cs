using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>SET_IRQS requests as tests write them.</summary>
internal static class Request
{
    public static EventRef BadFd => new(77, null, Errno.EBADF);

    public static EventRef NoEventfd => new(78, null, Errno.EINVAL);

    public static SetIrqs Trigger(IrqIndex index, uint start, params EventRef[] events) =>
        new((uint)index, start, (uint)events.Length, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: events);

    public static SetIrqs Disable(IrqIndex index) => None(index, IrqSetFlags.ActionTrigger, 0);

    public static SetIrqs None(IrqIndex index, IrqSetFlags action, uint count = 1, uint start = 0) =>
        new((uint)index, start, count, action | IrqSetFlags.DataNone);

    public static SetIrqs Bools(IrqIndex index, IrqSetFlags action, uint start, params byte[] bools) =>
        new((uint)index, start, (uint)bools.Length, action | IrqSetFlags.DataBool, Bools: bools);

    public static SetIrqs Unmask(EventRef resample) =>
        new((uint)IrqIndex.Intx, 0, 1, IrqSetFlags.ActionUnmask | IrqSetFlags.DataEventfd, Events: new[] { resample });

    public static SetIrqs Mask { get; } = None(IrqIndex.Intx, IrqSetFlags.ActionMask);

    public static SetIrqs Unmasked { get; } = None(IrqIndex.Intx, IrqSetFlags.ActionUnmask);
}
