using System.Reflection;
using System.Runtime.InteropServices;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>The programs under test, where the build put them, and the environment they are run in.</summary>
internal static class Executables
{
    private static readonly string Build = Metadata("FabricBuild");

    public static string Fabric { get; } = Path.Combine(Build, "fabric");

    public static string Fabricd { get; } = Path.Combine(Build, "daemon", "fabricd");

    /// <summary>The SDK that runs these tests.</summary>
    public static string Dotnet { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet"));

    /// <summary>What a driver is compiled against.</summary>
    public static string Kit { get; } = Path.Combine(Build, "daemon");

    /// <summary>The template of a driver, as it is shipped.</summary>
    public static string DriverTemplate { get; } = Metadata("DriverTemplate");

    /// <summary>Takes out what would overrule a test's own settings.</summary>
    public static void Prepare(IDictionary<string, string?> environment)
    {
        foreach (var name in environment.Keys.Where(name => name.StartsWith("FABRIC_", StringComparison.Ordinal)).ToList())
            environment.Remove(name);
        environment.Remove("ASPNETCORE_URLS");
        environment.Remove("ASPNETCORE_ENVIRONMENT");
        environment.Remove("DOTNET_ENVIRONMENT");
        environment.Remove("DOTNET_URLS");
        // An SDK that is run leaves no server behind.
        environment["MSBUILDDISABLENODEREUSE"] = "1";
        environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        // An SDK outside the usual places is found by `dotnet`, but not by an executable of its own.
        var root = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));
        if (!environment.ContainsKey("DOTNET_ROOT") && Directory.Exists(Path.Combine(root, "shared")))
            environment["DOTNET_ROOT"] = root;
    }

    private static string Metadata(string key) =>
        typeof(Executables).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(metadata => metadata.Key == key).Value!;
}
