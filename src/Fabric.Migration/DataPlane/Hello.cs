using System.Buffers.Binary;
using System.Text;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// What a source says first: 8 bytes magic, u16 version, u16 length of the id, u32 number of the stream, u32 number of the connection of
/// that stream (0 the first), u32 replies that it has taken, 32 bytes token, the id in UTF-8. Little-endian. The fixed part tells everything
/// needed to refuse, so a stranger is never read further than that and a bounded id.
/// </summary>
internal static class Hello
{
    public const ushort Version = 2;
    public const int FixedSize = TokenAt + DataPlaneToken.Length;
    public const int MaxIdBytes = 256;

    private const int VersionAt = 8;
    private const int IdLengthAt = 10;
    private const int StreamAt = 12;
    private const int ConnectionAt = 16;
    private const int RepliesAt = 20;
    private const int TokenAt = 24;

    private static ReadOnlySpan<byte> Magic => "FABRICDP"u8;

    /// <exception cref="ArgumentException">The id is empty or longer than <see cref="MaxIdBytes"/> in UTF-8, or the stream is negative.</exception>
    public static byte[] Compose(string migrationId, int stream, uint connection, uint replies, DataPlaneToken token)
    {
        CheckId(migrationId);
        ArgumentOutOfRangeException.ThrowIfNegative(stream);
        var id = Encoding.UTF8.GetBytes(migrationId);
        var hello = new byte[FixedSize + id.Length];
        Magic.CopyTo(hello);
        BinaryPrimitives.WriteUInt16LittleEndian(hello.AsSpan(VersionAt), Version);
        BinaryPrimitives.WriteUInt16LittleEndian(hello.AsSpan(IdLengthAt), (ushort)id.Length);
        BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(StreamAt), stream);
        BinaryPrimitives.WriteUInt32LittleEndian(hello.AsSpan(ConnectionAt), connection);
        BinaryPrimitives.WriteUInt32LittleEndian(hello.AsSpan(RepliesAt), replies);
        token.CopyTo(hello.AsSpan(TokenAt));
        id.CopyTo(hello, FixedSize);
        return hello;
    }

    public static void CheckId(string migrationId)
    {
        ArgumentException.ThrowIfNullOrEmpty(migrationId);
        if (Encoding.UTF8.GetByteCount(migrationId) > MaxIdBytes)
            throw new ArgumentException($"A migration id is at most {MaxIdBytes} bytes of UTF-8.", nameof(migrationId));
    }

    /// <summary>Judges the fixed part: null and the length of the id to come, or the sentence to refuse with.</summary>
    public static string? Judge(ReadOnlySpan<byte> fixedPart, out int idLength)
    {
        idLength = BinaryPrimitives.ReadUInt16LittleEndian(fixedPart[IdLengthAt..]);
        var version = BinaryPrimitives.ReadUInt16LittleEndian(fixedPart[VersionAt..]);
        if (!fixedPart.StartsWith(Magic))
            return "This port speaks Fabric's data plane and the peer does not.";
        if (version != Version)
            return $"The peer speaks version {version} of the data plane; this host speaks {Version}.";
        return idLength is 0 or > MaxIdBytes ? $"A migration id has 1 to {MaxIdBytes} bytes, not {idLength}." : null;
    }

    public static uint Stream(ReadOnlySpan<byte> fixedPart) => BinaryPrimitives.ReadUInt32LittleEndian(fixedPart[StreamAt..]);

    public static uint Connection(ReadOnlySpan<byte> fixedPart) => BinaryPrimitives.ReadUInt32LittleEndian(fixedPart[ConnectionAt..]);

    public static uint Replies(ReadOnlySpan<byte> fixedPart) => BinaryPrimitives.ReadUInt32LittleEndian(fixedPart[RepliesAt..]);

    public static ReadOnlySpan<byte> Token(ReadOnlySpan<byte> fixedPart) => fixedPart.Slice(TokenAt, DataPlaneToken.Length);
}
