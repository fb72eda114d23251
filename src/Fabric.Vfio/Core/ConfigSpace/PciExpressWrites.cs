using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>Device control of PCI Express: function level reset (CF-33) and the largest read request (CF-34).</summary>
internal sealed class PciExpressWrites(ShadowedConfig config, PciExpressCapability express, IConfigEffects effects) : IWriteEffect
{
    private int DeviceControl => express.Offset + PciExpressCapability.DeviceControl;

    public void Write(int register, int length, uint value)
    {
        var before = config.Shadow(DeviceControl, sizeof(ushort));
        config.Write(express.Offset + register, length, value);
        var after = config.Shadow(DeviceControl, sizeof(ushort));
        if ((after & PciExpressCapability.InitiateFunctionLevelReset) != 0)
        {
            after &= ~(uint)PciExpressCapability.InitiateFunctionLevelReset;             // it always reads 0
            config.SetShadow(DeviceControl, sizeof(ushort), after);
            if (express.HasFunctionLevelReset)
                effects.ResetFunction();
        }

        if (((before ^ after) & PciExpressCapability.MaxReadRequest) != 0)
            SetReadRequest((after & PciExpressCapability.MaxReadRequest) >> PciExpressCapability.MaxReadRequestShift);
    }

    /// <summary>No less than the payload size that the host has set, lest a cautious user make the function slow. Both are log2.</summary>
    private void SetReadRequest(uint asked)
    {
        var control = config.Hardware(DeviceControl, sizeof(ushort));
        var payload = (control & PciExpressCapability.MaxPayload) >> PciExpressCapability.MaxPayloadShift;
        var size = Math.Max(asked, payload);
        if (size > PciExpressCapability.LargestRequest)
            return;
        config.SetHardware(DeviceControl, sizeof(ushort),
            ShadowedConfig.Merge(control, size << PciExpressCapability.MaxReadRequestShift, PciExpressCapability.MaxReadRequest));
    }
}
