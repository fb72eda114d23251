using System.Globalization;

namespace Fabric.VfioUser.Tests;

/// <summary>How long the fuzz test runs: <c>FABRIC_FUZZ_FACTOR</c> times as long; and with which numbers: <c>FABRIC_FUZZ_SEED</c>.</summary>
internal static class FuzzRun
{
    private const string SeedVariable = "FABRIC_FUZZ_SEED";
    private const string FactorVariable = "FABRIC_FUZZ_FACTOR";

    public static int AnySeed => Number(SeedVariable) ?? Random.Shared.Next();

    public static int Times(int count) => checked(count * (Number(FactorVariable) ?? 1));

    /// <summary>What to do to run it again.</summary>
    public static string Again(int seed) => string.Create(CultureInfo.InvariantCulture, $"run it again with {SeedVariable}={seed}");

    private static int? Number(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
