using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>
/// INTx of one device, level-triggered (CF-60 to CF-63): an assertion masks the line and signals the target once, and nothing more comes
/// until it is unmasked. The device asserts, and a resample eventfd unmasks, from threads of their own; everything else is one caller's.
/// </summary>
internal sealed class IntxLine(IPciFunction function, IntxMasking masking)
{
    private readonly IntxRegisters registers = new(function);
    private IEventTarget? target;
    private IDisposable? resample;
    private bool maskedBySuspend;

    /// <summary>
    /// Guards the mask: the fields below and DisINTx in hardware. Never held while a handler is connected or taken away, since that waits for
    /// the handler, and the handler waits for this.
    /// </summary>
    public Lock Gate { get; } = new();

    public bool IsEnabled { get; private set; }

    public bool IsMasked { get; private set; }

    /// <summary>DisINTx as the user sees it is set (CF-14). Outlives enable and disable.</summary>
    public bool IsVirtuallyDisabled { get; private set; }

    public IntxView View => new(masking, IsEnabled, target is not null, resample is not null, IsMasked, IsVirtuallyDisabled);

    /// <summary>Null, or which law of its state is broken (INV-2 as far as INTx goes, CF-60, CF-62).</summary>
    public string? BrokenInvariant()
    {
        if (!IsEnabled && (target is not null || resample is not null || IsMasked))
            return "INTx is not enabled, yet it is masked or has a target or a resample eventfd.";
        return IsEnabled && IsVirtuallyDisabled && !IsMasked ? "INTx is virtually disabled, yet not masked." : null;
    }

    /// <summary>
    /// Connects the line, masked at first where it is virtually disabled (CF-60). Errors: ENODEV without a line, EBUSY where an exclusive
    /// one is taken.
    /// </summary>
    /// <param name="signalled">Null: nobody is signalled .</param>
    public VfioResult Enable(IEventTarget? signalled)
    {
        if (masking == IntxMasking.AlwaysOff || !function.Interrupts.HasLine)
            return VfioResult.Fail(Errno.ENODEV, "The host has no INTx line for this device; use MSI or MSI-X.");
        lock (Gate)
        {
            // Before it is connected: it may be asserted from then on.
            IsEnabled = true;
            IsMasked = IsVirtuallyDisabled;
            target = signalled;
            if (masking == IntxMasking.Function)
                registers.Disable(IsMasked);
        }
        var connected = function.Interrupts.ConnectLine(new Assertion(this), exclusive: masking == IntxMasking.Host);
        if (!connected.IsOk)
            Forget();
        else if (masking == IntxMasking.Host)
            lock (Gate)
                function.Interrupts.MaskLine(IsMasked);
        return connected;
    }

    /// <summary>Disconnects the line. DisINTx stays as it is.</summary>
    public void Disable()
    {
        RemoveResample();
        function.Interrupts.DisconnectLine();
        Forget();
    }

    /// <summary>Who is signalled from now on; null for nobody.</summary>
    public void Retarget(IEventTarget? signalled)
    {
        lock (Gate)
            target = signalled;
    }

    /// <summary>Signals the target as if the line had been asserted, but masks nothing.</summary>
    public void Inject()
    {
        IEventTarget? due;
        lock (Gate)
            due = Due;
        due?.Signal();
    }

    /// <summary>Masks the line; without an enabled INTx, hardware alone (CF-14).</summary>
    public void Mask()
    {
        lock (Gate)
            TryMask();
    }

    /// <summary>Unmasks the line, unless it is virtually disabled. Asserted still, it is signalled again and stays masked (CF-62).</summary>
    public void Unmask()
    {
        IEventTarget? due = null;
        lock (Gate)
        {
            if (!IsEnabled)
                MaskHardware(false);
            else if (IsMasked && !IsVirtuallyDisabled)
            {
                if (masking == IntxMasking.Function && registers.Asserted)
                    due = Due;
                else
                {
                    // First, because an asserted line comes in during the next call.
                    IsMasked = false;
                    MaskHardware(false);
                }
            }
        }
        due?.Signal();
    }

    /// <summary>The user's DisINTx changed: set masks, cleared unmasks, whatever masked it before (CF-14).</summary>
    public void SetVirtuallyDisabled(bool disabled)
    {
        lock (Gate)
        {
            if (IsVirtuallyDisabled == disabled)
                return;
            IsVirtuallyDisabled = disabled;
            if (disabled)
                TryMask();
        }
        if (!disabled)
            Unmask();
    }

    /// <summary>The user's DisINTx is forgotten, without a word to hardware (LC-31).</summary>
    public void ForgetVirtuallyDisabled()
    {
        lock (Gate)
            IsVirtuallyDisabled = false;
    }

    /// <summary>
    /// Every signal of this eventfd unmasks from now on; a negative descriptor ends that. Errors: EBADF, EINVAL (IO-47), EBUSY where one is
    /// installed.
    /// </summary>
    public VfioResult SetResample(EventRef reference)
    {
        if (reference.Resolve(out var eventfd) is { Errno: not Errno.None } wrong)
            return wrong;
        if (eventfd is null)
        {
            RemoveResample();
            return VfioResult.Ok;
        }
        if (eventfd is not IEventSource source)
            return VfioResult.Fail(Errno.EINVAL, "This eventfd can be signalled but not listened to; a resample eventfd must be.");
        if (resample is not null)
            return VfioResult.Fail(Errno.EBUSY, "INTx has a resample eventfd already; remove that with -1 first.");
        resample = source.Subscribe(new Resample(this));
        return VfioResult.Ok;
    }

    /// <summary>Before a runtime suspend: masks the line, and remembers whether it did (LC-63).</summary>
    public void Suspend()
    {
        lock (Gate)
            maskedBySuspend = IsEnabled && TryMask();
    }

    /// <summary>After a runtime suspend: unmasks what the suspend masked (LC-63).</summary>
    public void Resume()
    {
        if (maskedBySuspend)
            Unmask();
        maskedBySuspend = false;
    }

    /// <summary>Sets DisINTx again where INTx is broken, after whatever may have cleared it (CF-63, CF-11).</summary>
    public void KeepOff()
    {
        if (masking == IntxMasking.AlwaysOff)
            registers.Disable(true);
    }

    private IEventTarget? Due => IsEnabled && !IsVirtuallyDisabled ? target : null;

    private void OnAsserted()
    {
        IEventTarget? due = null;
        lock (Gate)
        {
            if (Claim())
                due = Due;
        }
        due?.Signal();
    }

    /// <summary>Whether the interrupt is this device's; if so, the line is masked now (CF-61).</summary>
    private bool Claim()
    {
        if (masking == IntxMasking.Function && (IsMasked || !registers.Asserted))
            return false;
        IsMasked = true;
        MaskHardware(true);
        return true;
    }

    /// <summary>False where it was masked already, or INTx is not enabled.</summary>
    private bool TryMask()
    {
        if (!IsEnabled)
            MaskHardware(true);
        if (!IsEnabled || IsMasked)
            return false;
        IsMasked = true;
        MaskHardware(true);
        return true;
    }

    private void MaskHardware(bool masked)
    {
        switch (masking)
        {
            case IntxMasking.Function:
                registers.Disable(masked);
                break;
            case IntxMasking.Host when IsEnabled:
                function.Interrupts.MaskLine(masked);
                break;
            case IntxMasking.Host:
            case IntxMasking.AlwaysOff:
            default:
                break;
        }
    }

    private void RemoveResample()
    {
        resample?.Dispose();
        resample = null;
    }

    private void Forget()
    {
        lock (Gate)
        {
            IsEnabled = false;
            IsMasked = false;
            maskedBySuspend = false;
            target = null;
        }
    }

    private sealed class Assertion(IntxLine line) : IEventTarget
    {
        public void Signal() => line.OnAsserted();
    }

    private sealed class Resample(IntxLine line) : IEventTarget
    {
        public void Signal() => line.Unmask();
    }
}
