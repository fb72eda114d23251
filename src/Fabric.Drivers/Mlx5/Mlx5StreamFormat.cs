using System.Buffers.Binary;

namespace Fabric.Drivers.Mlx5;

internal enum Mlx5Tag : uint
{
    /// <summary>An image of firmware's; mandatory.</summary>
    FirmwareData = 0,

    /// <summary>u64: bytes that the STOP_COPY part may come to, so that the target has room ready; optional.</summary>
    StopCopySize = 1,
}

/// <summary>
/// The migration stream of mlx5: records, each a header and a payload, little-endian, as the kernel's mlx5_vf_migration_header has it
/// (VD-MLX-1).
/// </summary>
internal static class Mlx5StreamFormat
{
    /// <summary>Bytes of payload u64, flags u32 (bit 0: a reader that does not know the tag skips the record), tag u32.</summary>
    public const int HeaderBytes = 16;

    public const uint OptionalTag = 1;

    public static void WriteHeader(Span<byte> destination, ulong size, uint flags, Mlx5Tag tag)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, size);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], flags);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], (uint)tag);
    }

    public static (ulong Size, uint Flags, Mlx5Tag Tag) ReadHeader(ReadOnlySpan<byte> header) => (
        BinaryPrimitives.ReadUInt64LittleEndian(header),
        BinaryPrimitives.ReadUInt32LittleEndian(header[8..]),
        (Mlx5Tag)BinaryPrimitives.ReadUInt32LittleEndian(header[12..]));
}
