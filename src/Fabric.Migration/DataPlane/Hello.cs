using System.Buffers.Binary;
using System.Text;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// What a source says first: 8 bytes magic, u16 version, u16 length of the id, 32 bytes token, the id in UTF-8. Little-endian. The fixed
/// part tells everything needed to refuse, so a stranger is never read further than that and a bounded id.
/// </summary>
internal static class Hello
{
    public const ushort Version = 1;
    public const int FixedSize = TokenAt + DataPlaneToken.Length;
    public const int MaxIdBytes = 256;

    private const int VersionAt = 8;
    private const int IdLengthAt = 10;
    private const int TokenAt = 12;

    private static ReadOnlySpan<byte> Magic => "FABRICDP"u8;

    /// <exception cref="ArgumentException">The id is empty or longer than <see cref="MaxIdBytes"/> in UTF-8.</exception>
    public static byte[] Compose(string migrationId, DataPlaneToken token)
    {
        CheckId(migrationId);
        var id = Encoding.UTF8.GetBytes(migrationId);
        var hello = new byte[FixedSize + id.Length];
        Magic.CopyTo(hello);
        BinaryPrimitives.WriteUInt16LittleEndian(hello.AsSpan(VersionAt), Version);
        BinaryPrimitives.WriteUInt16LittleEndian(hello.AsSpan(IdLengthAt), (ushort)id.Length);
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

    public static ReadOnlySpan<byte> Token(ReadOnlySpan<byte> fixedPart) => fixedPart.Slice(TokenAt, DataPlaneToken.Length);
}
