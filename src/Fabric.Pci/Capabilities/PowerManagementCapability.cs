namespace Fabric.Pci.Capabilities;

/// <summary>Power management (PCI PM 1.2, 3.2).</summary>
/// <param name="NoSoftReset">Whether the function keeps its state over D3hot; without it config space must be saved and restored (LC-65).</param>
public readonly record struct PowerManagementCapability(int Offset, bool SupportsD1, bool SupportsD2, bool NoSoftReset)
{
    public const int Capabilities = 2;
    public const int ControlStatus = 4;
    public const int Length = 8;

    /// <summary>In <see cref="Capabilities"/>: the states from which PME can be asserted.</summary>
    public const ushort PmeSupport = 0xf800;

    /// <summary>In <see cref="ControlStatus"/>: a <see cref="PciPowerState"/>.</summary>
    public const ushort StateMask = 0x0003;

    public const ushort NoSoftResetBit = 1 << 3;
    public const ushort PmeEnable = 1 << 8;
    public const ushort DataSelect = 0x1e00;

    /// <summary>Cleared by writing a one.</summary>
    public const ushort PmeStatus = 1 << 15;

    private const ushort D1 = 1 << 9;
    private const ushort D2 = 1 << 10;

    public static PowerManagementCapability Parse(ReadOnlySpan<byte> config, int offset)
    {
        var capabilities = RawConfig.Word(config, offset + Capabilities);
        var control = RawConfig.Word(config, offset + ControlStatus);
        return new PowerManagementCapability(offset, (capabilities & D1) != 0, (capabilities & D2) != 0, (control & NoSoftResetBit) != 0);
    }
}
