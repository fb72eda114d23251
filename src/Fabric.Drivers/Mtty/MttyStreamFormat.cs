using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Mtty;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The serial card's migration stream (contract §8.4), little-endian: a header, which a target checks before anything stops (MG-52), then a
/// record of each port, with a checksum.
/// </summary>
internal static class MttyStreamFormat
{
    /// <summary>Magic u64, major version u32, minor version u32, ports u32, flags u32 (0).</summary>
    public const int HeaderBytes = 24;

    /// <summary>
    /// A <see cref="MttyPortState"/>, and the checksum u32 over it: CRC-32C that begins with the port's number, so that no record can stand for
    /// another.
    /// </summary>
    public const int PortBytes = MttyPortState.Bytes + sizeof(uint);

    private const ulong Magic = 0x3154_5359_5454_4d46;       // "FMTTYST1"
    private const uint Major = 1;
    private const uint Minor = 0;

    public static int BytesOf(int ports) => HeaderBytes + (ports * PortBytes);

    public static Range PortAt(int port) => (HeaderBytes + (port * PortBytes))..(HeaderBytes + ((port + 1) * PortBytes));

    public static void WriteHeader(Span<byte> destination, int ports)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Major);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], Minor);
        BinaryPrimitives.WriteInt32LittleEndian(destination[16..], ports);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[20..], 0);
    }

    /// <summary>Whether a header is that of a card with so many ports: there is one such header.</summary>
    public static bool IsHeader(ReadOnlySpan<byte> header, int ports)
    {
        Span<byte> expected = stackalloc byte[HeaderBytes];
        WriteHeader(expected, ports);
        return header.SequenceEqual(expected);
    }

    /// <summary>Completes a record whose state is written.</summary>
    public static void Seal(Span<byte> record, int port) =>
        BinaryPrimitives.WriteUInt32LittleEndian(record[MttyPortState.Bytes..], Checksum(record, port));

    public static bool IsSealed(ReadOnlySpan<byte> record, int port) =>
        BinaryPrimitives.ReadUInt32LittleEndian(record[MttyPortState.Bytes..]) == Checksum(record, port);

    private static uint Checksum(ReadOnlySpan<byte> record, int port)
    {
        var checksum = BitOperations.Crc32C(uint.MaxValue, (uint)port);
        for (var at = 0; at < MttyPortState.Bytes; at += sizeof(ulong))
            checksum = BitOperations.Crc32C(checksum, BinaryPrimitives.ReadUInt64LittleEndian(record[at..]));
        return checksum;
    }
}
