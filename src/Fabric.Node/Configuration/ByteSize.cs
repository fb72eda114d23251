using System.Globalization;

namespace Fabric.Node.Configuration;

/// <summary>Sizes as people write them: <c>64MiB</c>, <c>1GiB</c>, <c>4096</c>.</summary>
internal static class ByteSize
{
    private static readonly (string Unit, long Bytes)[] Units =
    [
        ("GiB", 1L << 30), ("MiB", 1L << 20), ("KiB", 1L << 10), ("B", 1),
    ];

    public static bool TryParse(string text, out long bytes)
    {
        var scale = 1L;
        foreach (var (unit, of) in Units)
        {
            if (text.EndsWith(unit, StringComparison.OrdinalIgnoreCase))
            {
                (text, scale) = (text[..^unit.Length].TrimEnd(), of);
                break;
            }
        }

        bytes = 0;
        if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number > long.MaxValue / scale)
            return false;
        bytes = number * scale;
        return true;
    }
}
