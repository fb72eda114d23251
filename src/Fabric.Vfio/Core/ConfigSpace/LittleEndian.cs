using System.Buffers.Binary;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>Registers of 1, 2 or 4 bytes, as config space holds them.</summary>
internal static class LittleEndian
{
    public static ushort Word(ReadOnlySpan<byte> source) => BinaryPrimitives.ReadUInt16LittleEndian(source);

    public static uint Load(ReadOnlySpan<byte> source) => source.Length switch
    {
        4 => BinaryPrimitives.ReadUInt32LittleEndian(source),
        2 => BinaryPrimitives.ReadUInt16LittleEndian(source),
        _ => source[0],
    };

    public static void Store(Span<byte> destination, uint value)
    {
        switch (destination.Length)
        {
            case 4:
                BinaryPrimitives.WriteUInt32LittleEndian(destination, value);
                break;
            case 2:
                BinaryPrimitives.WriteUInt16LittleEndian(destination, (ushort)value);
                break;
            default:
                destination[0] = (byte)value;
                break;
        }
    }

    /// <summary>All bits of a register of this many bytes.</summary>
    public static uint Ones(int length) => uint.MaxValue >> (8 * (4 - length));
}
