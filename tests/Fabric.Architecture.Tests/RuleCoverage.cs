using System.Text.RegularExpressions;

namespace Fabric.Architecture.Tests;

/// <summary>
/// Which rules of the contract the tests prove: a test names the rules it proves at the end of its own name, such as
/// <c>A_read_across_the_end_of_a_BAR_is_cut_short_there_IO_111</c>.
/// </summary>
internal static partial class RuleCoverage
{
    /// <summary>The contract's rule ids, one a line.</summary>
    public static IReadOnlyList<string> Rules { get; } = Lines("rules.txt");

    /// <summary>Rules that no test proves, each with its reason: <c>id, tab, reason</c>. An id that ends with <c>*</c> stands for all that begin so.</summary>
    public static IReadOnlyDictionary<string, string> Exceptions { get; } =
        Lines("exceptions.tsv").Select(line => line.Split('\t')).ToDictionary(columns => columns[0], columns => columns.ElementAtOrDefault(1) ?? "");

    public static IEnumerable<string> CitedBy(string source) =>
        from Match name in TestName().Matches(source)
        from Match rule in Rule().Matches(name.Groups[1].Value)
        select rule.Value.TrimStart('_').Replace('_', '-');

    public static IEnumerable<string> Unproven(IReadOnlySet<string> cited) => Rules.Where(rule => !cited.Contains(rule) && !IsExcepted(rule));

    /// <summary>Exceptions that are none any more.</summary>
    public static IEnumerable<string> Stale(IReadOnlySet<string> cited) =>
        Exceptions.Keys.Where(exception => !exception.EndsWith('*') && (cited.Contains(exception) || !Rules.Contains(exception)));

    private static bool IsExcepted(string rule) =>
        Exceptions.Keys.Any(exception => exception == rule || (exception.EndsWith('*') && rule.StartsWith(exception[..^1], StringComparison.Ordinal)));

    private static string[] Lines(string file) => File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Contract", file));

    [GeneratedRegex(@"public (?:async )?(?:void|Task) (\w+)\(")]
    private static partial Regex TestName();

    [GeneratedRegex(@"_(?:VD_[A-Z]+|VD|LC|IO|CF|ER|SV|MG|INV|FWD|TS|Q|DM)_[0-9]+(?![0-9A-Za-z])")]
    private static partial Regex Rule();
}
