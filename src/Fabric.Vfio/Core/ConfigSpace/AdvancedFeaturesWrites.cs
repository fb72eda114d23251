using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>Function level reset of a conventional function (CF-35).</summary>
internal sealed class AdvancedFeaturesWrites(ShadowedConfig config, AdvancedFeaturesCapability features, IConfigEffects effects) : IWriteEffect
{
    private int Control => features.Offset + AdvancedFeaturesCapability.Control;

    public void Write(int register, int length, uint value)
    {
        config.Write(features.Offset + register, length, value);
        var control = config.Shadow(Control, sizeof(byte));
        if ((control & AdvancedFeaturesCapability.InitiateFunctionLevelReset) == 0)
            return;
        config.SetShadow(Control, sizeof(byte), control & ~(uint)AdvancedFeaturesCapability.InitiateFunctionLevelReset);
        if (features.HasFunctionLevelReset)
            effects.ResetFunction();
    }
}
