using System.Globalization;

namespace Fabric.Benchmarks;

internal static class Arguments
{
    /// <summary>The number behind an option, or what it is without one.</summary>
    public static int Number(IReadOnlyList<string> args, string option, int otherwise)
    {
        var at = args.ToList().IndexOf(option);
        if (at < 0)
            return otherwise;
        return at + 1 < args.Count && int.TryParse(args[at + 1], CultureInfo.InvariantCulture, out var number) && number > 0
            ? number
            : throw new ArgumentException($"{option} takes a positive number.");
    }
}
