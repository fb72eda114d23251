using System.Buffers.Binary;
using System.Numerics;

namespace Fabric.Hardware.Emulated.Mlx5;

[Flags]
internal enum Mlx5ImageFlags : ushort
{
    None = 0,

    /// <summary>Of an image that holds all of the memory, not changes alone.</summary>
    Full = 1,

    /// <summary>Of the last image: its last chunk holds the registers, and completes the state.</summary>
    Last = 2,

    /// <summary>No chunk of the image follows.</summary>
    End = 4,
}

/// <summary>
/// What firmware puts at the head of each chunk of an image, little-endian; nobody else reads it. Behind it lie pages, each with its number, and
/// at the end of a last image the registers.
/// </summary>
/// <param name="Image">Images of one stream are numbered on.</param>
/// <param name="Chunk">From 0.</param>
internal readonly record struct Mlx5ImageHead(Mlx5ImageFlags Flags, uint MemoryPages, uint Image, uint Chunk, uint Pages)
{
    /// <summary>Magic u32, version u16, flags u16, memory pages u32, image u32, chunk u32, pages u32, checksum u32, reserved u32.</summary>
    public const int Bytes = 32;

    /// <summary>A page: its number u32, its content.</summary>
    public const int PageRecordBytes = sizeof(uint) + Specs.Mlx5.Mlx5Bar.PageBytes;

    private const uint Magic = 0x4943_4856;       // "VHCI"
    private const ushort Version = 1;
    private const int Checksum = 24;

    /// <summary>The head of a chunk that is complete but for it.</summary>
    public void Seal(Span<byte> chunk)
    {
        chunk[..Bytes].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(chunk, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(chunk[4..], Version);
        BinaryPrimitives.WriteUInt16LittleEndian(chunk[6..], (ushort)Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(chunk[8..], MemoryPages);
        BinaryPrimitives.WriteUInt32LittleEndian(chunk[12..], Image);
        BinaryPrimitives.WriteUInt32LittleEndian(chunk[16..], Chunk);
        BinaryPrimitives.WriteUInt32LittleEndian(chunk[20..], Pages);
        BinaryPrimitives.WriteUInt32LittleEndian(chunk[Checksum..], ChecksumOf(chunk));
    }

    /// <summary>Null for what is no chunk of this version, or is damaged.</summary>
    public static Mlx5ImageHead? Read(ReadOnlySpan<byte> chunk)
    {
        if (chunk.Length < Bytes || BinaryPrimitives.ReadUInt32LittleEndian(chunk) != Magic ||
            BinaryPrimitives.ReadUInt16LittleEndian(chunk[4..]) != Version ||
            BinaryPrimitives.ReadUInt32LittleEndian(chunk[Checksum..]) != ChecksumOf(chunk))
            return null;
        return new Mlx5ImageHead(
            (Mlx5ImageFlags)BinaryPrimitives.ReadUInt16LittleEndian(chunk[6..]),
            BinaryPrimitives.ReadUInt32LittleEndian(chunk[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(chunk[12..]),
            BinaryPrimitives.ReadUInt32LittleEndian(chunk[16..]),
            BinaryPrimitives.ReadUInt32LittleEndian(chunk[20..]));
    }

    /// <summary>CRC-32C of all but the checksum.</summary>
    private static uint ChecksumOf(ReadOnlySpan<byte> chunk) =>
        Of(Of(uint.MaxValue, chunk[..Checksum]), chunk[(Checksum + sizeof(uint))..]);

    private static uint Of(uint checksum, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
            checksum = BitOperations.Crc32C(checksum, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (var rest in bytes)
            checksum = BitOperations.Crc32C(checksum, rest);
        return checksum;
    }
}
