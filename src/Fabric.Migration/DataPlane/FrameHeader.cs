using System.Buffers.Binary;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The 20 bytes before every payload, little-endian: u8 type, 3 reserved zero bytes, u32 payload length, u64 value (an offset, a round or
/// a byte count, by type), u32 check over header and payload (<see cref="StreamHash"/>).
/// </summary>
internal readonly record struct FrameHeader(FrameType Type, int Length, ulong Value, uint Check)
{
    public const int Size = 20;

    /// <summary>The largest payload of any frame; a longer one is a protocol error.</summary>
    public const int MaxPayload = 1 << 20;

    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)Type);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[4..], (uint)Length);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], Value);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[16..], Check);
    }

    /// <exception cref="DataPlaneException">Reserved bytes are set, or the payload is over <paramref name="maxPayload"/>.</exception>
    public static FrameHeader Read(ReadOnlySpan<byte> source, int maxPayload)
    {
        var type = BinaryPrimitives.ReadUInt32LittleEndian(source);
        if (type > byte.MaxValue)
            throw new DataPlaneException("The peer sent a frame whose reserved bytes are not zero.");
        var length = BinaryPrimitives.ReadUInt32LittleEndian(source[4..]);
        if (length > maxPayload)
            throw new DataPlaneException($"The peer announced a frame of {length} bytes; at most {maxPayload} are allowed.");
        return new FrameHeader(
            (FrameType)type,
            (int)length,
            BinaryPrimitives.ReadUInt64LittleEndian(source[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(source[16..]));
    }
}
