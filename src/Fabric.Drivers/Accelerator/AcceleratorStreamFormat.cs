using System.Buffers.Binary;
using Fabric.Hardware.Specs.Accelerator;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's migration stream: records of 24 bytes of head and a payload. First a header that the target checks before anything
/// stops (MG-52), then runs of state blocks, the later one winning, then the context, then the end. Records are numbered from 0, so that
/// one that is missing, repeated or out of its order is seen (MG-24).
/// </summary>
internal static class AcceleratorStreamFormat
{
    public const int HeadBytes = 24;

    /// <summary>Payload of the header record: magic u64, version u32, block bytes u32, state bytes u64.</summary>
    public const int HeaderBytes = 24;

    /// <summary>The longest run of blocks in one record.</summary>
    public const int MaxRunBytes = 256 * AcceleratorState.BlockBytes;

    public const ulong Magic = 0x3152_5453_4343_4146;       // "FACCSTR1"
    public const uint Version = 2;

    public static void WriteHead(Span<byte> destination, RecordHead head)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)head.Kind);
        BinaryPrimitives.WriteInt32LittleEndian(destination[4..], head.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], head.Offset);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[16..], head.Number);
    }

    public static RecordHead ReadHead(ReadOnlySpan<byte> source) => new(
        (RecordKind)BinaryPrimitives.ReadUInt32LittleEndian(source),
        BinaryPrimitives.ReadInt32LittleEndian(source[4..]),
        BinaryPrimitives.ReadUInt64LittleEndian(source[8..]),
        BinaryPrimitives.ReadUInt64LittleEndian(source[16..]));

    public static void WriteHeader(Span<byte> destination, ulong stateBytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], AcceleratorState.BlockBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[16..], stateBytes);
    }
}

/// <summary>The head of a record.</summary>
/// <param name="Length">Bytes of the payload.</param>
/// <param name="Offset">Of blocks: where in device state they lie, in bytes.</param>
/// <param name="Number">How many records came before it.</param>
internal readonly record struct RecordHead(RecordKind Kind, int Length, ulong Offset, ulong Number);

internal enum RecordKind : uint
{
    Header = 1,
    Blocks = 2,
    Context = 3,
    End = 4,
}
