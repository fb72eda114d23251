using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>
/// The interrupts of one open device: answers GET_IRQ_INFO and SET_IRQS (contract §2.4, §2.5). Of INTx, MSI and MSI-X one is active at a
/// time (IO-42); ERR and REQ are apart from that. One caller at a time.
/// </summary>
internal sealed class DeviceInterrupts
{
    private const IrqSetFlags DataMask = IrqSetFlags.DataNone | IrqSetFlags.DataBool | IrqSetFlags.DataEventfd;
    private const IrqSetFlags ActionMask = IrqSetFlags.ActionMask | IrqSetFlags.ActionUnmask | IrqSetFlags.ActionTrigger;

    private readonly InterruptGeometry geometry;
    private readonly bool canGrowMsix;
    private readonly IntxLine intx;
    private readonly MessageVectors vectors;
    private readonly EventTrigger err = new();
    private readonly EventTrigger req = new();

    /// <param name="masking">As <see cref="IntxRegisters.Decide"/> found it, before COMMAND was read into the user's config space.</param>
    public DeviceInterrupts(IPciFunction function, IntxMasking masking, InterruptGeometry geometry)
    {
        this.geometry = geometry;
        canGrowMsix = geometry.MsixTableSize > 0 && function.Interrupts.CanGrowMsix;
        intx = new IntxLine(function, masking);
        vectors = new MessageVectors(function.Interrupts, canGrowMsix);
    }

    /// <summary>Which of INTx, MSI and MSI-X is active; null for none (IO-42).</summary>
    public IrqIndex? Active => intx.IsEnabled ? IrqIndex.Intx : vectors.Type;

    /// <summary>The largest multiple-message-enable that the user may set, log2 (IO-46, CF-41); 0 before MSI was ever enabled.</summary>
    public int MsiQueueMax => vectors.MsiQueueMax;

    /// <summary>
    /// Held around every read-modify-write of COMMAND in hardware: an INTx assertion or a resample eventfd changes DisINTx there from another
    /// thread. May be entered again by who holds it.
    /// </summary>
    public Lock CommandGate => intx.Gate;

    /// <summary>GET_IRQ_INFO (IO-30). Errors: EINVAL for an index out of range.</summary>
    public VfioResult<IrqInfo> GetInfo(int index) => (IrqIndex)index switch
    {
        IrqIndex.Intx => new IrqInfo(IrqIndex.Intx, IrqFlags.Eventfd | IrqFlags.Maskable | IrqFlags.AutoMasked, Count(IrqIndex.Intx)),
        IrqIndex.Msix when canGrowMsix => new IrqInfo(IrqIndex.Msix, IrqFlags.Eventfd, Count(IrqIndex.Msix)),
        IrqIndex.Msi or IrqIndex.Msix or IrqIndex.Err or IrqIndex.Req =>
            new IrqInfo((IrqIndex)index, IrqFlags.Eventfd | IrqFlags.NoResize, Count((IrqIndex)index)),
        _ => new VfioError(Errno.EINVAL, "There is no interrupt of this index; GET_INFO tells how many there are."),
    };

    /// <summary>
    /// SET_IRQS (IO-40 to IO-47). Errors: EINVAL for what does not fit the device or its state, ENOTTY for an action that the index does not
    /// know, ENODEV, EBUSY, EBADF, ERANGE, ENOSPC, and the host's own. Fewer vectors available than asked for: nothing was done.
    /// </summary>
    public SetIrqsResult Set(SetIrqs request)
    {
        if (Check(request) is { Errno: not Errno.None } refused)
            return refused;
        return ((IrqIndex)request.Index, request.Flags & ActionMask) switch
        {
            (IrqIndex.Intx, IrqSetFlags.ActionMask) => MaskIntx(request),
            (IrqIndex.Intx, IrqSetFlags.ActionUnmask) => UnmaskIntx(request),
            (IrqIndex.Intx, IrqSetFlags.ActionTrigger) => TriggerIntx(request),
            (IrqIndex.Msi or IrqIndex.Msix, IrqSetFlags.ActionTrigger) => TriggerVectors((IrqIndex)request.Index, request),
            (IrqIndex.Err, IrqSetFlags.ActionTrigger) => Trigger(err, request),
            (IrqIndex.Req, IrqSetFlags.ActionTrigger) => Trigger(req, request),
            _ => new VfioError(Errno.ENOTTY, "This interrupt has no such action; ask for one action, and mask or unmask only INTx."),
        };
    }

    /// <summary>The user's DisINTx changed (CF-14).</summary>
    public void SetVirtuallyDisabled(bool disabled) => intx.SetVirtuallyDisabled(disabled);

    /// <summary>Signals ERR (ER-1); false where nobody is registered. From any thread.</summary>
    public bool SignalError() => err.Signal();

    /// <summary>Signals REQ (LC-34); false where nobody is registered. From any thread.</summary>
    public bool SignalRequest() => req.Signal();

    /// <summary>Before a runtime suspend: masks INTx (LC-63).</summary>
    public void Suspend() => intx.Suspend();

    /// <summary>After a runtime suspend: unmasks INTx where the suspend masked it (LC-63).</summary>
    public void Resume() => intx.Resume();

    /// <summary>After a reset whose config space is restored: MSI-X table entries are written anew (IO-52), broken INTx is off (CF-63).</summary>
    public void AfterReset()
    {
        vectors.Rearm();
        intx.KeepOff();
    }

    /// <summary>After the repair of a reset that nobody told of: broken INTx is off again (CF-11, CF-63).</summary>
    public void AfterRepair() => intx.KeepOff();

    /// <summary>Disables whichever type is active, and forgets the user's DisINTx (LC-31). ERR and REQ stay.</summary>
    public void TearDown()
    {
        if (intx.IsEnabled)
            intx.Disable();
        if (vectors.Type is not null)
            DisableVectors();
        intx.ForgetVirtuallyDisabled();
    }

    /// <summary>Drops the targets of ERR and REQ, the last step of a close (LC-30).</summary>
    public void DropTriggers()
    {
        err.Clear();
        req.Clear();
    }

    public InterruptView Inspect() => new(Active, intx.View, [.. vectors.View], MsiQueueMax, err.IsRegistered, req.IsRegistered);

    /// <summary>Null, or which law of the state is broken (INV-2, IO-42).</summary>
    public string? BrokenInvariant() => intx.IsEnabled && vectors.Type is not null
        ? "INTx is active beside MSI or MSI-X."
        : intx.BrokenInvariant() ?? vectors.BrokenInvariant();

    private static SetIrqsResult NotActive =>
        new VfioError(Errno.EINVAL, "This interrupt is not enabled; enable it with TRIGGER and DATA_EVENTFD first.");

    private static SetIrqsResult OtherActive =>
        new VfioError(Errno.EINVAL, "Another interrupt type is enabled; disable that first, with TRIGGER, DATA_NONE and a count of 0.");

    private static SetIrqsResult NotOneVector => new VfioError(Errno.EINVAL, "INTx has one vector; set start to 0 and count to 1.");

    private int Count(IrqIndex index) => index switch
    {
        IrqIndex.Intx => geometry.Pin ? 1 : 0,
        IrqIndex.Msi => geometry.MsiVectors,
        IrqIndex.Msix => geometry.MsixTableSize,
        IrqIndex.Err or IrqIndex.Req => 1,
        _ => 0,
    };

    /// <summary>In the order of IO-40. Once it passes, start and count fit an int, and the data is there.</summary>
    private VfioError Check(SetIrqs request)
    {
        if (request.Index > (uint)IrqIndex.Req)
            return new VfioError(Errno.EINVAL, "There is no interrupt of this index; GET_INFO tells how many there are.");
        if (request.Count >= uint.MaxValue - request.Start)
            return new VfioError(Errno.EINVAL, "start + count does not fit 32 bits.");
        if ((request.Flags & ~(DataMask | ActionMask)) != 0)
            return new VfioError(Errno.EINVAL, "SET_IRQS knows no such flag.");
        var vectors = (uint)Count((IrqIndex)request.Index);
        if (request.Start >= vectors || request.Start + request.Count > vectors)
            return new VfioError(Errno.EINVAL, "The device has no such vectors; GET_IRQ_INFO tells how many it has.");
        return (request.Flags & DataMask) switch
        {
            IrqSetFlags.DataNone => default,
            IrqSetFlags.DataBool => Enough(request, request.Bools.Length),
            IrqSetFlags.DataEventfd => Enough(request, request.Events.Length),
            _ => new VfioError(Errno.EINVAL, "SET_IRQS takes exactly one kind of data: DATA_NONE, DATA_BOOL or DATA_EVENTFD."),
        };
    }

    private static VfioError Enough(SetIrqs request, int given)
    {
        if (request.DataFault.Errno != Errno.None)
            return request.DataFault;
        return given < request.Count ? new VfioError(Errno.EINVAL, "There is less data than vectors; argsz must cover count entries.") : default;
    }

    private SetIrqsResult MaskIntx(SetIrqs request)
    {
        if (!intx.IsEnabled)
            return NotActive;
        if (request.Count != 1)
            return NotOneVector;
        if (request.Flags.HasFlag(IrqSetFlags.DataEventfd))
            return new VfioError(Errno.ENOTTY, "INTx cannot be masked by an eventfd; mask it with DATA_NONE or DATA_BOOL.");
        if (IsMeant(request, 0))
            intx.Mask();
        return SetIrqsResult.Done;
    }

    private SetIrqsResult UnmaskIntx(SetIrqs request)
    {
        if (!intx.IsEnabled)
            return NotActive;
        if (request.Count != 1)
            return NotOneVector;
        if (request.Flags.HasFlag(IrqSetFlags.DataEventfd))
            return intx.SetResample(request.Events.Span[0]);
        if (IsMeant(request, 0))
            intx.Unmask();
        return SetIrqsResult.Done;
    }

    private SetIrqsResult TriggerIntx(SetIrqs request)
    {
        if (intx.IsEnabled && request.Count == 0 && request.Flags.HasFlag(IrqSetFlags.DataNone))
        {
            intx.Disable();
            return SetIrqsResult.Done;
        }
        if (vectors.Type is not null)
            return OtherActive;
        if (request.Count != 1)
            return NotOneVector;
        if (request.Flags.HasFlag(IrqSetFlags.DataEventfd))
            return ConnectIntx(request.Events.Span[0]);
        if (!intx.IsEnabled)
            return NotActive;
        if (IsMeant(request, 0))
            intx.Inject();
        return SetIrqsResult.Done;
    }

    private SetIrqsResult ConnectIntx(EventRef reference)
    {
        if (reference.Resolve(out var target) is { Errno: not Errno.None } wrong)
            return wrong;
        if (!intx.IsEnabled)
            return intx.Enable(target);
        intx.Retarget(target);
        return SetIrqsResult.Done;
    }

    private SetIrqsResult TriggerVectors(IrqIndex type, SetIrqs request)
    {
        var start = (int)request.Start;
        var count = (int)request.Count;
        if (vectors.Type == type && count == 0 && request.Flags.HasFlag(IrqSetFlags.DataNone))
        {
            DisableVectors();
            return SetIrqsResult.Done;
        }
        if (Active is { } active && active != type)
            return OtherActive;
        if (request.Flags.HasFlag(IrqSetFlags.DataEventfd))
            return AttachVectors(type, start, request.Events.Span[..count]);
        if (vectors.Type is null)
            return NotActive;
        for (var i = 0; i < count; i++)
        {
            if (IsMeant(request, i))
                vectors.Signal(start + i);
        }
        return SetIrqsResult.Done;
    }

    /// <summary>"Set block" (IO-43): where it fails while it enables, everything is disabled again.</summary>
    private SetIrqsResult AttachVectors(IrqIndex type, int start, ReadOnlySpan<EventRef> events)
    {
        if (vectors.Type == type)
            return vectors.SetBlock(start, events);
        var enabled = vectors.Enable(type, start + events.Length, Count(type));
        if (!enabled.IsDone)
            return enabled;
        var attached = vectors.SetBlock(start, events);
        if (!attached.IsOk)
            DisableVectors();
        return attached;
    }

    private void DisableVectors()
    {
        vectors.Disable();
        intx.KeepOff();                                                 // freeing vectors gives INTx back to the function (CF-63)
    }

    private static SetIrqsResult Trigger(EventTrigger trigger, SetIrqs request) => (request.Flags & DataMask) switch
    {
        IrqSetFlags.DataBool => trigger.Trigger(request.Bools.Span[..(int)request.Count]),
        IrqSetFlags.DataEventfd => trigger.Register(request.Events.Span[..(int)request.Count]),
        _ => trigger.Trigger((int)request.Count),
    };

    /// <summary>Whether a request without eventfds is about this one of its vectors: with DATA_BOOL only where the byte is not 0.</summary>
    private static bool IsMeant(SetIrqs request, int i) => !request.Flags.HasFlag(IrqSetFlags.DataBool) || request.Bools.Span[i] != 0;
}
