using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>
/// What of config space is carried over a reset or a sleep in D3 (IO-51, LC-65): the header, and the control registers of those
/// capabilities that lose them. Which registers is data.
/// </summary>
internal sealed class ConfigSnapshot
{
    /// <summary>A register of a capability.</summary>
    /// <param name="Id">The capability's id; an extended one's above 0xffff is <see cref="Extended"/> plus its id.</param>
    private readonly record struct SavedRegister(int Id, int Offset, int Bytes);

    private const int Extended = 0x1_0000;

    /// <summary>In the order in which they are written back; what enables comes after what it enables.</summary>
    private static readonly ImmutableArray<SavedRegister> Capabilities =
    [
        new(CapabilityId.PciExpress, 0x08, 2),          // Device Control
        new(CapabilityId.PciExpress, 0x10, 2),          // Link Control
        new(CapabilityId.PciExpress, 0x28, 2),          // Device Control 2
        new(CapabilityId.PciExpress, 0x30, 2),          // Link Control 2
        new(CapabilityId.PciX, 0x02, 2),
        new(Extended + ExtendedCapabilityId.Aer, 0x08, 4),
        new(Extended + ExtendedCapabilityId.Aer, 0x0c, 4),
        new(Extended + ExtendedCapabilityId.Aer, 0x14, 4),
        new(Extended + ExtendedCapabilityId.Aer, 0x18, 4),
        new(Extended + ExtendedCapabilityId.Ats, 0x06, 2),
        new(Extended + ExtendedCapabilityId.Pri, 0x0c, 4),
        new(Extended + ExtendedCapabilityId.Pri, 0x04, 2),
        new(Extended + ExtendedCapabilityId.ResizableBar, 0x08, 4),
        new(Extended + ExtendedCapabilityId.Ltr, 0x04, 4),
        new(CapabilityId.Msi, 0x04, 4),                 // address, data, then control
        new(CapabilityId.Msi, 0x08, 4),
        new(CapabilityId.Msi, 0x0c, 4),
        new(CapabilityId.Msi, 0x02, 2),
        new(CapabilityId.Msix, 0x02, 2),
    ];

    /// <summary>From the last dword to the first: BARs are in place before COMMAND turns decode on.</summary>
    private const int HeaderBytes = 64;

    private readonly IPciFunction function;
    private readonly byte[] header = new byte[HeaderBytes];
    private readonly ImmutableArray<(int At, int Bytes, uint Value)> registers;

    private ConfigSnapshot(IPciFunction function)
    {
        this.function = function;
        function.ReadConfig(0, header);
        var saved = ImmutableArray.CreateBuilder<(int, int, uint)>();
        foreach (var register in Capabilities)
        {
            var capability = register.Id < Extended
                ? function.FindCapability((byte)register.Id)
                : function.FindExtendedCapability((ushort)(register.Id - Extended));
            var at = capability + register.Offset;
            if (capability != 0 && at + register.Bytes <= function.ConfigSize)
                saved.Add((at, register.Bytes, register.Bytes == 2 ? function.Read16(at) : function.Read32(at)));
        }

        registers = saved.ToImmutable();
    }

    public static ConfigSnapshot Of(IPciFunction function) => new(function);

    /// <summary>Writes back what differs. Status is left out: its bits are cleared by writing ones.</summary>
    public void Restore()
    {
        for (var at = HeaderBytes - 4; at >= 0; at -= 4)
        {
            var value = BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(at));
            if (at == ConfigOffset.Command)
                continue;
            if (function.Read32(at) != value)
                function.Write32(at, value);
        }

        foreach (var (at, bytes, value) in registers)
        {
            if (bytes == 2 && function.Read16(at) != value)
                function.Write16(at, (ushort)value);
            else if (bytes == 4 && function.Read32(at) != value)
                function.Write32(at, value);
        }

        var command = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(ConfigOffset.Command));
        if (function.Read16(ConfigOffset.Command) != command)
            function.Write16(ConfigOffset.Command, command);
    }
}
