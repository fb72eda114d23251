using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// MSI's control word: the host decides whether MSI is on and how many vectors there are; the user has leave to ask for less (CF-41).
/// </summary>
internal sealed class MsiWrites(ShadowedConfig config, MsiCapability msi, IConfigEffects effects) : IWriteEffect
{
    public int Offset => msi.Offset;

    private int Control => msi.Offset + MsiCapability.Control;

    public void Write(int register, int length, uint value)
    {
        var at = msi.Offset + register;
        config.Write(at, length, value);
        if (at > Control || Control >= at + length)
            return;
        var control = config.Shadow(Control, sizeof(ushort));
        if (!effects.IsMsiActive)
            control &= ~(uint)MsiCapability.Enable;
        var most = (uint)effects.MsiQueueMax << MsiCapability.MultipleMessageEnableShift;
        if ((control & MsiCapability.MultipleMessageEnable) > most)
            control = ShadowedConfig.Merge(control, most, MsiCapability.MultipleMessageEnable);
        config.SetShadow(Control, sizeof(ushort), control);
        config.SetHardware(Control, sizeof(ushort), control);
    }

    /// <summary>
    /// What a chunk that was read shows: while MSI is active, the capable field is the vectors that the host has given, not all that the
    /// function could use.
    /// </summary>
    public uint Show(int at, int length, uint value)
    {
        if (!effects.IsMsiActive || at > Control || Control >= at + length)
            return value;
        var capable = (uint)Math.Min(effects.MsiQueueMax, int.Log2(msi.MaxVectors)) << MsiCapability.MultipleMessageCapableShift;
        var shift = 8 * (Control - at);
        return ShadowedConfig.Merge(value, capable << shift, (uint)MsiCapability.MultipleMessageCapable << shift);
    }
}
