using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>What a function's sleep means for the rest of the core.</summary>
internal interface IRuntimePowerEffects
{
    /// <summary>Before it sleeps: D0 whatever its user chose, INTx masked (LC-63).</summary>
    void Suspending();

    /// <summary>After it woke: INTx as it was (LC-63).</summary>
    void Resumed();

    /// <summary>The user's low power begins: mappings zapped, DMA buffers revoked (LC-60).</summary>
    void EnterLowPower();

    /// <summary>The user's low power is over: mappings work again, DMA buffers when the user leaves of its own (LC-62).</summary>
    void LeaveLowPower();
}

/// <summary>
/// Runtime power management of a registered function: it sleeps when nobody uses it (LC-4), and when its holder says so (LC-60 to LC-62).
/// </summary>
internal sealed class RuntimePower(IPciFunction function, FunctionPower power, IRuntimePowerEffects effects)
{
    private ConfigSnapshot? saved;
    private IEventTarget? wake;

    /// <summary>How many want it awake.</summary>
    public int Users { get; private set; } = 1;

    public bool IsSuspended { get; private set; }

    /// <summary>The user's low power (features 3 and 4).</summary>
    public bool IsEngaged { get; private set; }

    public bool HasWakeTarget => wake is not null;

    /// <summary>Keeps it awake until <see cref="Put"/>. False where it does not wake; then there is nothing to put.</summary>
    public bool TryGet()
    {
        Users++;
        if (!IsSuspended || Resume())
            return true;
        Users--;
        return false;
    }

    public void Put()
    {
        if (--Users == 0 && !IsSuspended)
            Suspend();
    }

    /// <summary>Features LOW_POWER_ENTRY and _WITH_WAKEUP. Sleep begins when the request's own use of the device ends. Errors: EINVAL engaged already.</summary>
    public VfioResult Engage(IEventTarget? wakeTarget)
    {
        if (IsEngaged)
            return VfioResult.Fail(Errno.EINVAL, "The device is in low power already; leave it first.");
        IsEngaged = true;
        wake = wakeTarget;
        Users--;
        effects.EnterLowPower();
        return VfioResult.Ok;
    }

    /// <summary>Nothing happens where it is not engaged (LC-62).</summary>
    public void Disengage()
    {
        if (!IsEngaged)
            return;
        IsEngaged = false;
        wake = null;
        Users++;
        effects.LeaveLowPower();
    }

    /// <summary>
    /// The holder is gone, and the function was perhaps not to be woken for it: what it finds when it wakes is this, or it is awake by a
    /// reset.
    /// </summary>
    public void Stage(ConfigSnapshot config)
    {
        power.Stage(config);
        IsSuspended &= power.Current == PciPowerState.D3Hot;
        saved = IsSuspended ? config : null;
    }

    private void Suspend()
    {
        effects.Suspending();
        saved = ConfigSnapshot.Save(function);
        power.Set(PciPowerState.D3Hot);
        IsSuspended = true;
    }

    private bool Resume()
    {
        if (!power.Set(PciPowerState.D0).IsOk)
            return false;
        saved?.Restore(function);
        saved = null;
        IsSuspended = false;
        effects.Resumed();
        if (wake is { } target)
        {
            target.Signal();                                                             // LC-62
            Disengage();
        }

        return true;
    }
}
