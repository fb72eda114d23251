using System.Numerics;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>
/// The MSI or MSI-X vectors of one device: which the host has allocated, and what each is attached to. Targets are given to hardware as
/// they are: an interrupt does not pass through here.
/// </summary>
/// <param name="canGrowMsix">MSI-X vectors can be added while some are in use (IO-44).</param>
internal sealed class MessageVectors(IFunctionInterrupts host, bool canGrowMsix)
{
    private Slot[] slots = [];

    /// <summary>Null while no vector is allocated.</summary>
    public IrqIndex? Type { get; private set; }

    /// <summary>Log2 of the messages that the user may enable, since MSI was enabled last (IO-46).</summary>
    public int MsiQueueMax { get; private set; }

    /// <summary>One per vector that the device has, while some are allocated.</summary>
    public IEnumerable<VectorView> View => slots.Select(slot => new VectorView(slot.IsAllocated, slot.Target is not null));

    /// <summary>Null, or which law of its state is broken (INV-2).</summary>
    public string? BrokenInvariant()
    {
        var allocated = 0;
        foreach (var slot in slots)
        {
            allocated += slot.IsAllocated ? 1 : 0;
            if (slot.Target is not null && !slot.IsAllocated)
                return "A vector is attached that is not allocated.";
        }
        return Type is null == (allocated == 0) ? null : "An interrupt type is active exactly where vectors are allocated; here it is not so.";
    }

    /// <summary>
    /// Allocates vectors 0 to count - 1, attached to nothing (IO-42). Fewer available: nothing was enabled. Errors: ERANGE for none, ENOSPC
    /// where there is none to be had, and the host's own.
    /// </summary>
    /// <param name="size">Vectors that the device has, at least <paramref name="count"/>.</param>
    public SetIrqsResult Enable(IrqIndex type, int count, int size)
    {
        if (count == 0)
            return new VfioError(Errno.ERANGE, "Enabling no vector at all is nothing to enable; start + count must be at least 1.");
        var granted = host.Allocate(type, count);
        if (!granted.IsOk)
            return granted.Error;
        if (granted.Value <= 0)
            return new VfioError(Errno.ENOSPC, "The host has no interrupt vector left for this device.");
        if (granted.Value < count)
            return SetIrqsResult.Fewer(granted.Value);
        slots = new Slot[size];
        slots.AsSpan(0, count).Fill(new Slot(IsAllocated: true, null));
        Type = type;
        if (type == IrqIndex.Msi)
            MsiQueueMax = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)count));
        return SetIrqsResult.Done;
    }

    /// <summary>
    /// Attaches vectors one after the other (IO-43); a negative descriptor leaves its vector detached. The first that fails detaches those
    /// before it and itself. Errors: EINVAL for a vector that is not allocated and cannot be (IO-44), EBADF, EINVAL (IO-47), and the host's own.
    /// </summary>
    public VfioResult SetBlock(int start, ReadOnlySpan<EventRef> events)
    {
        for (var i = 0; i < events.Length; i++)
        {
            var attached = Attach(start + i, events[i]);
            if (attached.IsOk)
                continue;
            for (var vector = start; vector <= start + i; vector++)
                Detach(vector);
            return attached;
        }
        return VfioResult.Ok;
    }

    /// <summary>Signals a vector's target, if there is one.</summary>
    public void Signal(int vector) => slots[vector].Target?.Signal();

    /// <summary>Writes the table entry of every attached MSI-X vector anew, after a reset of the device (IO-45, IO-52).</summary>
    public void Rearm()
    {
        if (Type != IrqIndex.Msix)
            return;
        for (var vector = 0; vector < slots.Length; vector++)
        {
            if (slots[vector].Target is not { } target)
                continue;
            host.Disconnect(vector);
            if (!host.Connect(vector, target).IsOk)
                slots[vector] = slots[vector] with { Target = null };
        }
    }

    /// <summary>Detaches and frees all vectors.</summary>
    public void Disable()
    {
        for (var vector = 0; vector < slots.Length; vector++)
            Detach(vector);
        host.Free();
        slots = [];
        Type = null;
    }

    private VfioResult Attach(int vector, EventRef reference)
    {
        Detach(vector);
        if (reference.Fd < 0)
            return VfioResult.Ok;
        var allocated = slots[vector].IsAllocated ? VfioResult.Ok : Grow(vector);
        if (!allocated.IsOk)
            return allocated;
        if (reference.Resolve(out var target) is { Errno: not Errno.None } wrong)
            return wrong;
        var connected = host.Connect(vector, target!);
        if (connected.IsOk)
            slots[vector] = slots[vector] with { Target = target };
        return connected;
    }

    private VfioResult Grow(int vector)
    {
        if (Type != IrqIndex.Msix || !canGrowMsix)
            return VfioResult.Fail(Errno.EINVAL, "The vector was not allocated when this interrupt was enabled; disable it and enable more.");
        var grown = host.Grow(vector);
        if (grown.IsOk)
            slots[vector] = new Slot(IsAllocated: true, null);
        return grown;
    }

    /// <summary>Its allocation stays until all are disabled (IO-44).</summary>
    private void Detach(int vector)
    {
        if (slots[vector].Target is null)
            return;
        host.Disconnect(vector);
        slots[vector] = slots[vector] with { Target = null };
    }

    private readonly record struct Slot(bool IsAllocated, IEventTarget? Target);
}
