using System.Text;
using System.Text.Unicode;

namespace Fabric.Migration.DataPlane;

/// <summary>Sentences between hosts: UTF-8, bounded when sent and when received, and harmless to a log or a terminal.</summary>
internal static class PeerText
{
    public const int MaxBytes = 1024;

    /// <summary>Writes as much as fits, cut between characters, and returns the length in bytes.</summary>
    public static int Encode(string sentence, Span<byte> destination)
    {
        // A full buffer is the one possible shortfall, and stopping there is the purpose.
        _ = Utf8.FromUtf16(sentence, destination[..Math.Min(destination.Length, MaxBytes)], out _, out var written);
        return written;
    }

    public static byte[] Encode(string sentence)
    {
        var bytes = new byte[MaxBytes];
        return bytes[..Encode(sentence, bytes)];
    }

    /// <exception cref="DataPlaneException">Longer than <see cref="MaxBytes"/>.</exception>
    public static string Decode(ReadOnlySpan<byte> utf8)
    {
        if (utf8.Length > MaxBytes)
            throw new DataPlaneException($"The peer sent a sentence of {utf8.Length} bytes; at most {MaxBytes} are allowed.");
        return string.Concat(Encoding.UTF8.GetString(utf8).Select(c => char.IsControl(c) ? ' ' : c));
    }
}
