using System.Security.Cryptography;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The 32-byte secret that admits one connection of one migration, once. The target makes it and hands it to the source over the
/// control plane. Not a record: neither printing nor comparing it may reveal its bytes.
/// </summary>
public sealed class DataPlaneToken
{
    /// <summary>Length in bytes.</summary>
    public const int Length = 32;

    private readonly byte[] _bytes;

    private DataPlaneToken(byte[] bytes) => _bytes = bytes;

    /// <summary>A new token from the system's cryptographic random generator.</summary>
    public static DataPlaneToken New() => new(RandomNumberGenerator.GetBytes(Length));

    /// <summary>The token a control message carried.</summary>
    /// <exception cref="ArgumentException">Not exactly <see cref="Length"/> bytes.</exception>
    public static DataPlaneToken FromBytes(ReadOnlySpan<byte> bytes) =>
        bytes.Length == Length
            ? new DataPlaneToken(bytes.ToArray())
            : throw new ArgumentException($"A token is {Length} bytes, not {bytes.Length}.", nameof(bytes));

    /// <summary>A copy of the secret, for the control message that carries it to the source.</summary>
    public byte[] ToBytes() => [.. _bytes];

    public override string ToString() => nameof(DataPlaneToken);

    internal void CopyTo(Span<byte> destination) => _bytes.CopyTo(destination);

    /// <summary>Compares in a time that does not depend on where the first difference is.</summary>
    internal bool Matches(ReadOnlySpan<byte> presented) => CryptographicOperations.FixedTimeEquals(_bytes, presented);
}
