using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Virtio;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// The virtio migration stream (VD-VIR-3), little-endian: records, each with all of a VF's parts, of which the last counts; then the end. The
/// kernel's stream has no end, so that there one which lacks its last records passes for a whole one. Here the end is a record that is
/// marked optional, which the kernel's parser skips.
/// </summary>
internal static class VirtioStreamFormat
{
    /// <summary>Data size u64, flags u32, tag u32.</summary>
    public const int HeaderBytes = 16;

    /// <summary>Flag: skipped where the tag is not known.</summary>
    public const uint Optional = 1;

    /// <summary>Tag: the parts of a device, all of them (<see cref="VirtioPart"/>).</summary>
    public const uint DeviceData = 0;

    /// <summary>Tag: bytes of the stream before this record u64, their CRC-32C u32, u32 of 0.</summary>
    public const uint End = 1;
    public const int EndBytes = 16;

    /// <summary>
    /// Most bytes of a record. The kernel takes up to 4 GiB less one, and holds that in memory; a device's parts are hundreds of bytes.
    /// </summary>
    public const int MaxRecord = 1 << 20;

    public static void WriteHeader(Span<byte> destination, int bytes, uint flags, uint tag)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, (ulong)bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], flags);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], tag);
    }

    public static (ulong Bytes, uint Flags, uint Tag) ReadHeader(ReadOnlySpan<byte> header) => (
        BinaryPrimitives.ReadUInt64LittleEndian(header), BinaryPrimitives.ReadUInt32LittleEndian(header[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[12..]));

    /// <summary>Whether parts that a device gave say that it is stopped.</summary>
    public static bool SaysStopped(ReadOnlySpan<byte> parts)
    {
        while (parts.Length > VirtioPart.HeaderBytes)
        {
            var length = BinaryPrimitives.ReadUInt32LittleEndian(parts[VirtioPart.Length..]);
            if (BinaryPrimitives.ReadUInt16LittleEndian(parts) == (ushort)VirtioPartType.Mode)
                return length == 1 && (parts[VirtioPart.HeaderBytes] & VirtioAdmin.ModeStopped) != 0;
            if (length > parts.Length - VirtioPart.HeaderBytes)
                return false;
            parts = parts[(VirtioPart.HeaderBytes + (int)length)..];
        }

        return false;
    }
}

/// <summary>Length and checksum of what has gone through a stream so far.</summary>
internal struct VirtioStreamSum()
{
    private ulong bytes;
    private uint checksum = uint.MaxValue;

    public void Add(ReadOnlySpan<byte> part)
    {
        bytes += (ulong)part.Length;
        foreach (var value in part)
            checksum = BitOperations.Crc32C(checksum, value);
    }

    /// <summary>The payload of the end.</summary>
    public readonly void Write(Span<byte> end)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(end, bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(end[8..], ~checksum);
        BinaryPrimitives.WriteUInt32LittleEndian(end[12..], 0);
    }
}
