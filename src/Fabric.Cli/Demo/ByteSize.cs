using System.Globalization;
using System.Text.RegularExpressions;

namespace Fabric.Cli.Demo;

/// <summary>A size as people write it: <c>64MiB</c>, <c>1GiB</c>.</summary>
internal sealed partial record ByteSize(long Bytes)
{
    /// <summary>What the daemon takes as device state: whole granules, up to this.</summary>
    public const string Bounds = "a multiple of 256KiB, at most 32GiB";

    private const long Largest = 32L << 30;
    private const long Granule = 256 << 10;

    public double Mebibytes => Bytes / (double)(1 << 20);

    /// <summary>Whole units of KiB, MiB or GiB, within <see cref="Bounds"/>.</summary>
    public static bool TryParse(string text, out ByteSize size)
    {
        size = new ByteSize(0);
        var match = Pattern().Match(text);
        if (!match.Success || !long.TryParse(match.Groups["count"].ValueSpan, CultureInfo.InvariantCulture, out var count))
            return false;
        var shift = char.ToUpperInvariant(match.Groups["unit"].Value[0]) switch { 'K' => 10, 'M' => 20, _ => 30 };
        if (count > Largest >> shift || count == 0 || (count << shift) % Granule != 0)
            return false;
        size = new ByteSize(count << shift);
        return true;
    }

    /// <summary>As <c>fabricd</c> reads it, in the largest unit that keeps it whole.</summary>
    public override string ToString() => Bytes switch
    {
        _ when Bytes % (1L << 30) == 0 => $"{Bytes >> 30}GiB",
        _ when Bytes % (1L << 20) == 0 => $"{Bytes >> 20}MiB",
        _ => $"{Bytes >> 10}KiB",
    };

    [GeneratedRegex(@"\A(?<count>[0-9]{1,9}) ?(?<unit>[KMG])(i?B)?\z", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();
}
