using System.Globalization;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>
/// The kernel's counters of a function's errors (sysfs: aer_dev_*), and of those of the root port above it. Absent where AER is off.
/// </summary>
/// <param name="folder">The function's folder in sysfs.</param>
internal sealed class AerCounters(string folder)
{
    private readonly string? rootPort = RootPortOf(folder);
    private (ulong NonFatal, ulong RootNonFatal) last;

    /// <summary>
    /// How bad the uncorrectable error was that has just been counted: non-fatal where such a counter has moved since the last time, else fatal,
    /// which some kernels count for the root port alone.
    /// </summary>
    public AerSeverity Advance()
    {
        var now = (Total(folder, "aer_dev_nonfatal"), rootPort is null ? 0 : Number(rootPort, "aer_rootport_total_err_nonfatal"));
        var before = last;
        last = now;
        return now != before ? AerSeverity.NonFatal : AerSeverity.Fatal;
    }

    /// <summary>What a counter's file ends with: <c>TOTAL_ERR_NONFATAL 2</c>.</summary>
    private static ulong Total(string folder, string name) =>
        TextOf(folder, name) is { } text && ulong.TryParse(text.AsSpan(text.LastIndexOf(' ') + 1), CultureInfo.InvariantCulture, out var total)
            ? total
            : 0;

    private static ulong Number(string folder, string name) =>
        TextOf(folder, name) is { } text && ulong.TryParse(text, CultureInfo.InvariantCulture, out var number) ? number : 0;

    private static string? TextOf(string folder, string name)
    {
        try
        {
            var file = Path.Combine(folder, name);
            return File.Exists(file) ? File.ReadAllText(file).Trim() : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The function has gone meanwhile: nothing has been counted.
            return null;
        }
    }

    private static string? RootPortOf(string folder)
    {
        for (var above = Path.GetDirectoryName(Sysfs.Real(folder)); above is not null; above = Path.GetDirectoryName(above))
        {
            if (File.Exists(Path.Combine(above, "aer_rootport_total_err_nonfatal")))
                return above;
        }

        return null;
    }
}
