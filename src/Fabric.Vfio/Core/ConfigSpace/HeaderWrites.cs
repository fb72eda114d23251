using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>The type-0 header: COMMAND acts, and is where a reset behind the core's back is noticed and mended (CF-10 to CF-15).</summary>
internal sealed class HeaderWrites : IWriteEffect
{
    private const PciCommand Decodes = PciCommand.MemorySpace | PciCommand.IoSpace;

    private readonly ShadowedConfig config;
    private readonly IConfigEffects effects;
    private readonly bool hasMemoryEnable;

    public HeaderWrites(ShadowedConfig config, IConfigEffects effects, ImmutableArray<uint> realBars)
    {
        this.config = config;
        this.effects = effects;
        hasMemoryEnable = !config.Function.HasNoMemoryEnable();
        RealBars = realBars;
    }

    /// <summary>BARs 0 to 5 and the ROM BAR as hardware had them at open.</summary>
    public ImmutableArray<uint> RealBars { get; }

    public bool IsMemoryEnabled => !hasMemoryEnable || (Command & PciCommand.MemorySpace) != 0;

    /// <summary>INTx disable as the core was last told it; not disabled at open.</summary>
    public bool IsIntxDisabled { get; private set; }

    private PciCommand Command => (PciCommand)config.Shadow(ConfigOffset.Command, sizeof(ushort));

    public void Write(int register, int length, uint value)
    {
        if (register != ConfigOffset.Command)
        {
            WriteHardware(register, length, value);
            if (register == ConfigOffset.Command + 1)
                TellIntxDisable();
            return;
        }

        var asked = (PciCommand)(ushort)value;
        if ((asked & PciCommand.MemorySpace) == 0)
            effects.BlockMemory();                                                       // CF-10: before hardware sees it
        if (WasResetBehindOurBack(asked))
            RestoreBars();
        WriteHardware(register, length, value);
        config.SetShadow(register, sizeof(byte), (uint)((Command & ~Decodes) | (asked & Decodes)));
        if (IsMemoryEnabled)
            effects.UnblockMemory();                                                     // CF-12
        TellIntxDisable();
    }

    /// <summary>
    /// Writes the BARs of open time back to hardware, and DisINTx where INTx is broken (CF-11, CF-63). A VF's are its PF's affair.
    /// </summary>
    public void RestoreBars()
    {
        if (config.Function.IsVirtualFunction)
            return;
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
            config.SetHardware(ConfigOffset.Bar0 + (4 * bar), sizeof(uint), RealBars[bar]);
        config.SetHardware(ConfigOffset.RomBar, sizeof(uint), RealBars[ConfigOffset.BarCount]);
        if (config.Function.HasBrokenIntx())
            config.SetHardware(ConfigOffset.Command, sizeof(ushort), config.HardwareCommand | (uint)PciCommand.InterruptDisable);
    }

    /// <summary>CF-11. A decode that the shadow says is on and hardware says is off is asked for, or a BAR is not what it was.</summary>
    private bool WasResetBehindOurBack(PciCommand asked)
    {
        if (config.Function.IsVirtualFunction)
            return false;
        var lost = asked & Command & ~(PciCommand)config.HardwareCommand & Decodes;
        if ((lost & PciCommand.IoSpace) != 0 || ((lost & PciCommand.MemorySpace) != 0 && hasMemoryEnable))
            return true;
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            if (config.Hardware(ConfigOffset.Bar0 + (4 * bar), sizeof(uint)) != RealBars[bar])
                return true;
        }

        return false;
    }

    private void TellIntxDisable()
    {
        var disabled = (Command & PciCommand.InterruptDisable) != 0;
        if (disabled == IsIntxDisabled)
            return;
        IsIntxDisabled = disabled;
        effects.SetIntxDisabled(disabled);
    }

    private void WriteHardware(int register, int length, uint value)
    {
        lock (effects.CommandGate)
            config.Write(register, length, value);
    }
}
