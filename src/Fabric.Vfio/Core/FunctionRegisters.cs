using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>Registers of a function's own config space, past any virtualisation.</summary>
internal static class FunctionRegisters
{
    public static byte Read8(this IPciFunction function, int offset)
    {
        Span<byte> value = stackalloc byte[1];
        function.ReadConfig(offset, value);
        return value[0];
    }

    public static ushort Read16(this IPciFunction function, int offset)
    {
        Span<byte> value = stackalloc byte[2];
        function.ReadConfig(offset, value);
        return BinaryPrimitives.ReadUInt16LittleEndian(value);
    }

    public static uint Read32(this IPciFunction function, int offset)
    {
        Span<byte> value = stackalloc byte[4];
        function.ReadConfig(offset, value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    public static void Write16(this IPciFunction function, int offset, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        function.WriteConfig(offset, bytes);
    }

    public static PciCommand ReadCommand(this IPciFunction function) => (PciCommand)function.Read16(ConfigOffset.Command);

    public static void WriteCommand(this IPciFunction function, PciCommand command) => function.Write16(ConfigOffset.Command, (ushort)command);

    /// <summary>Hardware is written only where something changes.</summary>
    public static void ChangeCommand(this IPciFunction function, PciCommand set = PciCommand.None, PciCommand clear = PciCommand.None)
    {
        var before = function.ReadCommand();
        var after = (before | set) & ~clear;
        if (after != before)
            function.WriteCommand(after);
    }
}
