using System.Buffers.Binary;
using System.IO.Hashing;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// Each payload is read once, into a 128-bit digest. Header fields and digest make a 32-byte block; the frame's check is a hash of that
/// block, and the stream's hash is an XxHash128 over all blocks in order. So both cover type, length, value and payload, and the second
/// also their order, at the price of one pass. It guards against damage, not against an adversary: that is TLS's part.
/// </summary>
internal sealed class StreamHash
{
    private const int BlockSize = 32;

    private readonly XxHash128 _running = new();

    public UInt128 Current => _running.GetCurrentHashAsUInt128();

    /// <summary>The check of a frame that is not part of the transferred state.</summary>
    public static uint Check(FrameType type, ulong value, ReadOnlySpan<byte> payload)
    {
        Span<byte> block = stackalloc byte[BlockSize];
        Fill(block, type, value, payload);
        return Check(block);
    }

    /// <summary>Adds a frame to the stream's hash and returns the frame's check.</summary>
    public uint Append(FrameType type, ulong value, ReadOnlySpan<byte> payload)
    {
        Span<byte> block = stackalloc byte[BlockSize];
        Fill(block, type, value, payload);
        _running.Append(block);
        return Check(block);
    }

    private static void Fill(Span<byte> block, FrameType type, ulong value, ReadOnlySpan<byte> payload)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(block, (uint)type);
        BinaryPrimitives.WriteUInt32LittleEndian(block[4..], (uint)payload.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(block[8..], value);
        BinaryPrimitives.WriteUInt128LittleEndian(block[16..], XxHash128.HashToUInt128(payload));
    }

    private static uint Check(ReadOnlySpan<byte> block) => (uint)XxHash3.HashToUInt64(block);
}
