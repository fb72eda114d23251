using System.Globalization;

namespace Fabric.Node.Configuration;

/// <summary>Times as people write them: <c>500ms</c>, <c>70s</c>, <c>5min</c>, <c>1h</c>.</summary>
internal static class Duration
{
    /// <summary>Longest first where one ends with another.</summary>
    private static readonly (string Unit, TimeSpan Of)[] Units =
    [
        ("ms", TimeSpan.FromMilliseconds(1)), ("min", TimeSpan.FromMinutes(1)), ("s", TimeSpan.FromSeconds(1)), ("h", TimeSpan.FromHours(1)),
    ];

    /// <summary>A whole number and its unit, up to 100 days.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = default;
        foreach (var (unit, of) in Units)
        {
            if (!text.EndsWith(unit, StringComparison.Ordinal))
                continue;
            if (!long.TryParse(text.AsSpan(0, text.Length - unit.Length).TrimEnd(), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                || number > TimeSpan.FromDays(100) / of)
                return false;
            duration = number * of;
            return true;
        }

        return false;
    }
}
