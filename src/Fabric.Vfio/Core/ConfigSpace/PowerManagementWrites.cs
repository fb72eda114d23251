using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>The state field of PMCSR is not written but acted on, by a chunk that starts at PMCSR (CF-5, CF-30).</summary>
internal sealed class PowerManagementWrites(ShadowedConfig config, int start, IConfigEffects effects) : IWriteEffect
{
    public void Write(int register, int length, uint value)
    {
        config.Write(start + register, length, value);
        if (register == PowerManagementCapability.ControlStatus)
            effects.ChangePowerState((PciPowerState)(value & PowerManagementCapability.StateMask));
    }
}
