using System.Text.RegularExpressions;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>What labels and groups may be called.</summary>
public static partial class PlacementWords
{
    /// <summary>Whether a text is <c>key=value</c>.</summary>
    public static bool IsLabel(string? text) => text is not null && Label().IsMatch(text);

    public static bool IsGroup(string? text) => text is not null && Group().IsMatch(text);

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}=[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z")]
    private static partial Regex Label();

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z")]
    private static partial Regex Group();
}
