using System.Globalization;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux;

/// <summary>
/// What people want to know of a function: its name, its link, what errors the kernel has counted. What sysfs does not say is left out.
/// </summary>
internal static class FunctionFacts
{
    private static readonly (string File, string Name)[] Errors =
    [
        ("aer_dev_correctable", "correctable errors"), ("aer_dev_nonfatal", "non-fatal errors"), ("aer_dev_fatal", "fatal errors"),
    ];

    public static IReadOnlyList<FunctionFact> Read(FunctionFolder folder, PciIds ids, PciNames names)
    {
        var facts = new List<FunctionFact>();
        Add("name", names.NameOf(ids));
        Add("class", names.ClassOf(ids));
        Add("numa node", folder.OptionalNumber("numa_node") is { } node and >= 0 ? node.ToString(CultureInfo.InvariantCulture) : null);
        Add("link", LinkOf(folder));
        foreach (var (file, name) in Errors)
            Add(name, CountedIn(folder, file));
        return facts;

        void Add(string name, string? value)
        {
            if (value is not null)
                facts.Add(new FunctionFact(name, value));
        }
    }

    /// <summary>Null where it has none: a function without PCI Express says 0, or Unknown.</summary>
    private static string? LinkOf(FunctionFolder folder)
    {
        var (speed, width) = (folder.OptionalLine("current_link_speed"), folder.OptionalNumber("current_link_width"));
        var (most, widest) = (folder.OptionalLine("max_link_speed"), folder.OptionalNumber("max_link_width"));
        if (speed is null || width is null or 0)
            return null;
        return (speed, width) == (most, widest) ? $"{speed} x{width}" : $"{speed} x{width}, of at most {most} x{widest}";
    }

    /// <summary>The total, and what it is made of where there was any: <c>2 (BadTLP 2)</c>.</summary>
    private static string? CountedIn(FunctionFolder folder, string file)
    {
        var words = folder.OptionalWords(file);
        if (words.Count < 2 || words.Count % 2 != 0)
            return null;
        var counted = words.Chunk(2)
            .Where(static pair => pair[1] != "0")
            .ToLookup(static pair => pair[0].StartsWith("TOTAL_", StringComparison.Ordinal));
        var parts = string.Join(", ", counted[false].Select(static pair => $"{pair[0]} {pair[1]}"));
        return parts.Length == 0 ? words[^1] : $"{words[^1]} ({parts})";
    }
}
