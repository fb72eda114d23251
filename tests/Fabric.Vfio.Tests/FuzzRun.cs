using System.Globalization;

namespace Fabric.Vfio.Tests;

/// <summary>
/// How long fuzz tests and random walks run, and with which numbers. <c>FABRIC_FUZZ_FACTOR=100</c> makes them a hundred times as long: for
/// nights, not for CI. <c>FABRIC_FUZZ_SEED</c> gives a fuzz test the inputs of an earlier run again; a walk's seed is CsCheck's
/// (<c>CsCheck_Seed</c>). Both are printed where one fails.
/// </summary>
internal static class FuzzRun
{
    /// <summary>Inputs of one run, before the factor: they are a million at least.</summary>
    public const int ToDecoders = 700_000;

    public const int ToConfigSpace = 350_000;

    public const int ToDevices = 100_000;

    private const string SeedVariable = "FABRIC_FUZZ_SEED";
    private const string FactorVariable = "FABRIC_FUZZ_FACTOR";

    public static int AnySeed => Number(SeedVariable) ?? Random.Shared.Next();

    public static int Times(int count) => checked(count * (Number(FactorVariable) ?? 1));

    /// <summary>What to do to run it again.</summary>
    public static string Again(int seed) => string.Create(CultureInfo.InvariantCulture, $"run it again with {SeedVariable}={seed}");

    private static int? Number(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
