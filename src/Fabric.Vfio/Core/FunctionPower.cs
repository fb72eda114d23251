using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>The power state of a function, changed through PMCSR of its power management capability; without one it is in D0 always.</summary>
internal sealed class FunctionPower
{
    private const int Capabilities = 2;
    private const int Pmcsr = 4;
    private const int SupportsD1 = 1 << 9;
    private const int SupportsD2 = 1 << 10;
    private const int StateField = 3;
    private const int NoSoftReset = 1 << 3;

    private readonly IPciFunction function;
    private readonly int capability;
    private ConfigSnapshot? saved;

    public FunctionPower(IPciFunction function)
    {
        this.function = function;
        capability = function.FindCapability(CapabilityId.PowerManagement);
        LosesConfig = capability != 0 && (function.Read16(capability + Pmcsr) & NoSoftReset) == 0;
    }

    public PciPowerState Current { get; private set; }

    /// <summary>Goes through a reset on its way from D3hot to D0: its config space is saved and restored (LC-4, LC-65).</summary>
    public bool LosesConfig { get; }

    /// <summary>SR-IOV is active: it stays in D0 (LC-64, SV-23).</summary>
    public bool IsPinned { get; set; }

    /// <summary>Errors: EBUSY above D0 while pinned, EIO for a state that it has not or that it does not reach, EINVAL for a shallower state that is not D0.</summary>
    public VfioResult Set(PciPowerState target)
    {
        if (target != PciPowerState.D0 && IsPinned)
            return VfioResult.Fail(Errno.EBUSY, "The function has VFs and stays in D0; remove them first.");
        if (target == Current)
            return VfioResult.Ok;
        if (!Supports(target))
            return VfioResult.Fail(Errno.EIO, "The function has no such power state.");
        if (target != PciPowerState.D0 && target < Current)
            return VfioResult.Fail(Errno.EINVAL, "From a deeper power state there is a way to D0 alone.");
        if (target == PciPowerState.D3Hot && LosesConfig)
            saved = ConfigSnapshot.Of(function);
        var pmcsr = function.Read16(capability + Pmcsr);
        function.Write16(capability + Pmcsr, (ushort)((pmcsr & ~StateField) | (int)target));
        if ((function.Read16(capability + Pmcsr) & StateField) != (int)target)
            return VfioResult.Fail(Errno.EIO, "The function did not reach the power state; it may be gone.");
        Current = target;
        if (target == PciPowerState.D0)
        {
            saved?.Restore();
            saved = null;
        }

        return VfioResult.Ok;
    }

    private bool Supports(PciPowerState state) => capability != 0 && state switch
    {
        PciPowerState.D1 => (function.Read16(capability + Capabilities) & SupportsD1) != 0,
        PciPowerState.D2 => (function.Read16(capability + Capabilities) & SupportsD2) != 0,
        _ => true,
    };
}
