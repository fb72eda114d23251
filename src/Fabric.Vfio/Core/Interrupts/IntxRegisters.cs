using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>The two bits of a function's config space that INTx is about (PCI Local Bus 3.0, 6.2.2 and 6.2.3).</summary>
internal readonly struct IntxRegisters(IPciFunction function)
{
    private const int InterruptStatus = 1 << 3;

    /// <summary>Interrupt status: the function asserts its line, or would but for DisINTx.</summary>
    public bool Asserted => (Read(ConfigOffset.Status) & InterruptStatus) != 0;

    private ushort Command => Read(ConfigOffset.Command);

    /// <summary>Sets or clears DisINTx.</summary>
    public void Disable(bool disabled)
    {
        var before = Command;
        var after = disabled ? before | (int)PciCommand.InterruptDisable : before & ~(int)PciCommand.InterruptDisable;
        if (after != before)
            Write((ushort)after);
    }

    /// <summary>
    /// Decides at open how INTx is masked, and leaves DisINTx clear, or set where INTx is broken (LC-20). The self-test toggles DisINTx: it
    /// works where that bit follows, and no other.
    /// </summary>
    public IntxMasking Decide()
    {
        if ((function.Traits & FunctionTraits.BrokenIntx) != 0)
        {
            Disable(true);
            return IntxMasking.AlwaysOff;
        }
        var before = Command;
        Write((ushort)(before ^ (int)PciCommand.InterruptDisable));
        var changed = before ^ Command;
        if (changed != 0)
            Write(before);
        if (changed != (int)PciCommand.InterruptDisable)
            return IntxMasking.Host;
        Disable(false);
        return IntxMasking.Function;
    }

    private ushort Read(int offset)
    {
        Span<byte> word = stackalloc byte[2];
        function.ReadConfig(offset, word);
        return BinaryPrimitives.ReadUInt16LittleEndian(word);
    }

    private void Write(ushort command)
    {
        Span<byte> word = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(word, command);
        function.WriteConfig(ConfigOffset.Command, word);
    }
}
