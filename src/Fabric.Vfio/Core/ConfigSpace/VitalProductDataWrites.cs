using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// VPD (CF-31): a write of the address register's high byte moves four bytes between the shadow's data register and the function, and
/// flips the flag in the shadow when that has worked. When it has not, the flag stays and the user times out.
/// </summary>
internal sealed class VitalProductDataWrites(ShadowedConfig config, int start) : IWriteEffect
{
    /// <summary>
    /// How often the flag is looked at before the function is taken not to answer: some ten milliseconds of a real function's time, and
    /// far more than a serial EEPROM needs for four bytes.
    /// </summary>
    public const int MostPolls = 10_000;

    public void Write(int register, int length, uint value)
    {
        config.Write(start + register, length, value);
        if (register > VitalProductData.Address + 1 || register + length <= VitalProductData.Address + 1)
            return;
        var address = config.Shadow(start + VitalProductData.Address, sizeof(ushort));
        if (Transfer(address))
            config.SetShadow(start + VitalProductData.Address, sizeof(ushort), address ^ VitalProductData.Flag);
    }

    /// <summary>The address must be one of a dword (PCI Local Bus 3.0, appendix I).</summary>
    private bool Transfer(uint address)
    {
        if ((address & 3) != 0)
            return false;
        var isWrite = (address & VitalProductData.Flag) != 0;
        if (isWrite)
            config.SetHardware(start + VitalProductData.Data, sizeof(uint), config.Shadow(start + VitalProductData.Data, sizeof(uint)));
        config.SetHardware(start + VitalProductData.Address, sizeof(ushort), address);
        if (!WaitForFlag(set: !isWrite))
            return false;
        if (!isWrite)
            config.SetShadow(start + VitalProductData.Data, sizeof(uint), config.Hardware(start + VitalProductData.Data, sizeof(uint)));
        return true;
    }

    private bool WaitForFlag(bool set)
    {
        for (var poll = 0; poll < MostPolls; poll++)
        {
            if (((config.Hardware(start + VitalProductData.Address, sizeof(ushort)) & VitalProductData.Flag) != 0) == set)
                return true;
        }

        return false;
    }
}
