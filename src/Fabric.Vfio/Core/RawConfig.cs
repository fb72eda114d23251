using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>Registers and capability lists of a function's own config space, past any virtualisation.</summary>
internal static class RawConfig
{
    /// <summary>A list that is longer than this goes in a circle: 48 capabilities fill conventional config space, 960 the extended one.</summary>
    private const int MaxStandard = 48;

    private const int MaxExtended = 960;

    private const int CapabilityList = 1 << 4;

    private const int FirstExtended = 0x100;

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

    public static void Write32(this IPciFunction function, int offset, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        function.WriteConfig(offset, bytes);
    }

    public static PciCommand ReadCommand(this IPciFunction function) => (PciCommand)function.Read16(ConfigOffset.Command);

    public static void WriteCommand(this IPciFunction function, PciCommand command) => function.Write16(ConfigOffset.Command, (ushort)command);

    public static void ChangeCommand(this IPciFunction function, PciCommand set = PciCommand.None, PciCommand clear = PciCommand.None) =>
        function.WriteCommand((function.ReadCommand() | set) & ~clear);

    /// <summary>Where a capability begins; 0 where the function has none of this id.</summary>
    public static int FindCapability(this IPciFunction function, byte id)
    {
        if ((function.Read16(ConfigOffset.Status) & CapabilityList) == 0)
            return 0;
        var at = function.Read8(ConfigOffset.CapabilitiesPointer) & ~3;
        for (var i = 0; i < MaxStandard && at >= 0x40; i++)
        {
            var head = function.Read16(at);
            if ((byte)head == id)
                return at;
            at = (head >> 8) & ~3;
        }

        return 0;
    }

    /// <summary>Where an extended capability begins; 0 where the function has none of this id.</summary>
    public static int FindExtendedCapability(this IPciFunction function, ushort id)
    {
        if (function.ConfigSize <= FirstExtended)
            return 0;
        var at = FirstExtended;
        for (var i = 0; i < MaxExtended && at >= FirstExtended && at + 4 <= function.ConfigSize; i++)
        {
            var head = function.Read32(at);
            if ((ushort)head == id && head != uint.MaxValue)
                return at;
            at = (int)(head >> 20) & ~3;
        }

        return 0;
    }
}

/// <summary>Capability ids that the core itself looks for.</summary>
internal static class CapabilityId
{
    public const byte PowerManagement = 0x01;
    public const byte Msi = 0x05;
    public const byte PciX = 0x07;
    public const byte PciExpress = 0x10;
    public const byte Msix = 0x11;
}

/// <summary>Extended capability ids that the core itself looks for.</summary>
internal static class ExtendedCapabilityId
{
    public const ushort Aer = 0x01;
    public const ushort Ats = 0x0f;
    public const ushort Sriov = 0x10;
    public const ushort Pri = 0x13;
    public const ushort ResizableBar = 0x15;
    public const ushort Ltr = 0x18;
}
