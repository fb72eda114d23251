namespace Fabric.Node.Tests.Configuration;

/// <summary>The files of <c>cluster-config</c>, as they are shipped.</summary>
internal static class Profiles
{
    /// <summary>It has every setting at its default, and <c>node.roles</c> has none.</summary>
    public const string Reference = "reference.json";

    private static string Folder => Path.Combine(AppContext.BaseDirectory, "cluster-config");

    public static IEnumerable<string> All =>
        Directory.EnumerateFiles(Folder, "*.json", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Folder, path)).Order(StringComparer.Ordinal);

    public static string PathOf(string name) => Path.Combine(Folder, name);

    /// <summary>What has to be given beside the file.</summary>
    public static string[] Missing(string name) => name == Reference ? ["--node:roles:0=control"] : [];
}
