using System.Text.RegularExpressions;

namespace Fabric.Architecture.Tests;

/// <summary>What the design forbids, each rule as a function from what is there to what is wrong with it.</summary>
internal static partial class Rules
{
    /// <summary>Which rooms each room may reference: those below it (design, section 2), and the leaf that hardware and drivers share.</summary>
    public static IReadOnlyDictionary<string, string[]> MayReference { get; } = new Dictionary<string, string[]>
    {
        ["Fabric.Pci"] = [],
        ["Fabric.Hardware.Specs"] = [],
        ["Fabric.Vfio"] = ["Fabric.Pci"],
        ["Fabric.Devices"] = ["Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.Hardware.Emulated"] = ["Fabric.Vfio", "Fabric.Pci", "Fabric.Hardware.Specs"],
        ["Fabric.Linux"] = ["Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.Hardware.Linux"] = ["Fabric.Linux", "Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.Drivers"] = ["Fabric.Devices", "Fabric.Vfio", "Fabric.Pci", "Fabric.Hardware.Specs"],
        ["Fabric.Drivers.Conformance"] = ["Fabric.Devices", "Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.Migration"] = ["Fabric.Devices", "Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.VfioUser"] = ["Fabric.Devices", "Fabric.Linux", "Fabric.Vfio", "Fabric.Pci"],
        ["Fabric.Node"] =
        [
            "Fabric.Drivers", "Fabric.Migration", "Fabric.Devices", "Fabric.Hardware.Emulated", "Fabric.Hardware.Linux", "Fabric.Hardware.Specs",
            "Fabric.Linux", "Fabric.VfioUser", "Fabric.Vfio", "Fabric.Pci",
        ],
        ["Fabric.Cli"] = [],
    };

    /// <summary>Rooms that reference the framework alone.</summary>
    private static readonly string[] WithoutPackages = ["Fabric.Pci", "Fabric.Vfio", "Fabric.Hardware.Specs"];

    public static IEnumerable<string> References(ProjectFile room)
    {
        if (!MayReference.TryGetValue(room.Name, out var allowed))
            return [$"{room.Name} is not a room of the design; give it a place among the arrows."];
        return room.Projects.Except(allowed).Select(upward => $"{room.Name} references {upward}, which is not below it.");
    }

    public static IEnumerable<string> Packages(ProjectFile room) =>
        WithoutPackages.Contains(room.Name) ? room.Packages.Select(package => $"{room.Name} references package {package}; it references the framework alone.") : [];

    /// <summary>A driver speaks to its core by messages; a mapping is the one thing of the core's that a message may bring it.</summary>
    public static IEnumerable<string> ReachesIntoCore(SourceFile source) =>
        CoreTypes().Matches(source.Text).Select(match => $"{source.Path} uses {match.Value}, which is the core's own.");

    public static IEnumerable<string> ForbiddenCode(SourceFile source) =>
        Forbidden().Matches(WithoutComments().Replace(source.Text, "")).Select(match => $"{source.Path} has '{match.Value.Trim()}'.");

    public static IEnumerable<string> TopLevel(IEnumerable<string> entries) => entries
        .Where(entry => !entry.StartsWith('.') && !AllowedAtTop().IsMatch(entry))
        .Select(entry => $"{entry} does not belong at the top level.");

    [GeneratedRegex(@"\b(VfioPciCore|VfioPciCoreActor|VirtualConfig|ConfigPermissions|IPciFunction|DmaMap)\b")]
    private static partial Regex CoreTypes();

    [GeneratedRegex(@"Thread\.Sleep|async\s+void|\.GetAwaiter\(\)\.GetResult|\.Wait\(\)|\b(class|record|struct)\s+\w*(Manager|Helper|Util|Utils)\b|NotImplementedException|\bTODO\b")]
    private static partial Regex Forbidden();

    [GeneratedRegex(@"//.*$", RegexOptions.Multiline)]
    private static partial Regex WithoutComments();

    [GeneratedRegex(@"^(src|tests|scripts|cluster-config|Fabric\.sln|README\.md|LICENSE.*|global\.json|Directory\..*|nuget\.config|NuGet\.config)$")]
    private static partial Regex AllowedAtTop();
}
