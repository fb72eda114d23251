using System.Buffers.Binary;
using Fabric.Hardware.Specs.Accelerator;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's migration stream: records of 16 bytes of head and a payload. First a header that the target checks before anything
/// stops (MG-52), then runs of state blocks, the later one winning, then the context, then the end.
/// </summary>
internal static class AcceleratorStreamFormat
{
    public const int HeadBytes = 16;

    /// <summary>Payload of the header record: magic u64, version u32, block bytes u32, state bytes u64.</summary>
    public const int HeaderBytes = 24;

    /// <summary>The longest run of blocks in one record.</summary>
    public const int MaxRunBytes = 256 * AcceleratorState.BlockBytes;

    public const ulong Magic = 0x3152_5453_4343_4146;       // "FACCSTR1"
    public const uint Version = 1;

    public static void WriteHead(Span<byte> destination, RecordKind kind, int length, ulong offset)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)kind);
        BinaryPrimitives.WriteInt32LittleEndian(destination[4..], length);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], offset);
    }

    public static (RecordKind Kind, int Length, ulong Offset) ReadHead(ReadOnlySpan<byte> source) => (
        (RecordKind)BinaryPrimitives.ReadUInt32LittleEndian(source),
        BinaryPrimitives.ReadInt32LittleEndian(source[4..]),
        BinaryPrimitives.ReadUInt64LittleEndian(source[8..]));

    public static void WriteHeader(Span<byte> destination, ulong stateBytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], AcceleratorState.BlockBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[16..], stateBytes);
    }
}

internal enum RecordKind : uint
{
    Header = 1,
    Blocks = 2,
    Context = 3,
    End = 4,
}
