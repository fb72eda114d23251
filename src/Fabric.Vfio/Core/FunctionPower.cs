using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Core;

/// <summary>The power state of a function, changed through PMCSR of its power management capability; without one it is in D0 always.</summary>
internal sealed class FunctionPower(IPciFunction function, PowerManagementCapability? capability)
{
    private ConfigSnapshot? saved;

    public PciPowerState Current { get; private set; }

    /// <summary>Goes through a reset on its way from D3hot to D0: its config space is saved and restored (LC-4, LC-65).</summary>
    public bool LosesConfig => capability is { NoSoftReset: false };

    /// <summary>SR-IOV is active: it stays in D0 (LC-64, SV-23).</summary>
    public bool IsPinned { get; set; }

    /// <summary>Errors: EBUSY above D0 while pinned, EIO for a state that it has not or that it does not reach, EINVAL for a shallower state that is not D0.</summary>
    public VfioResult Set(PciPowerState target)
    {
        if (target != PciPowerState.D0 && IsPinned)
            return VfioResult.Fail(Errno.EBUSY, "The function has VFs and stays in D0; remove them first.");
        if (target == Current)
            return VfioResult.Ok;
        if (capability is not { } management || !Supports(management, target))
            return VfioResult.Fail(Errno.EIO, "The function has no such power state.");
        if (target != PciPowerState.D0 && target < Current)
            return VfioResult.Fail(Errno.EINVAL, "From a deeper power state there is a way to D0 alone.");
        if (target == PciPowerState.D3Hot && LosesConfig)
            saved = ConfigSnapshot.Save(function);
        var pmcsr = management.Offset + PowerManagementCapability.ControlStatus;
        function.Write16(pmcsr, (ushort)((function.Read16(pmcsr) & ~Written) | (int)target));
        if ((function.Read16(pmcsr) & PowerManagementCapability.StateMask) != (int)target)
            return VfioResult.Fail(Errno.EIO, "The function did not reach the power state; it may be gone.");
        Current = target;
        if (target == PciPowerState.D0)
        {
            saved?.Restore(function);
            saved = null;
        }

        return VfioResult.Ok;
    }

    /// <summary>What is given back on the way to D0, if the function is not there yet: not what a holder left who is gone.</summary>
    public void Stage(ConfigSnapshot config) => saved = saved is null ? null : config;

    /// <summary>Looks at what state the function is in: a reset of any kind leaves it in D0 by itself.</summary>
    public void Resync()
    {
        if (capability is { } management)
            Current = (PciPowerState)(function.Read16(management.Offset + PowerManagementCapability.ControlStatus) & PowerManagementCapability.StateMask);
        if (Current != PciPowerState.D3Hot)
            saved = null;
    }

    private static bool Supports(PowerManagementCapability management, PciPowerState state) => state switch
    {
        PciPowerState.D1 => management.SupportsD1,
        PciPowerState.D2 => management.SupportsD2,
        _ => true,
    };

    /// <summary>The state itself, and PME status beside it: a one there would clear it.</summary>
    private const int Written = PowerManagementCapability.StateMask | PowerManagementCapability.PmeStatus;
}
