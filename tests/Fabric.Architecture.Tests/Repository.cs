using System.Reflection;
using System.Xml.Linq;

namespace Fabric.Architecture.Tests;

/// <summary>A project as its file says it.</summary>
/// <param name="Projects">Names of the projects it references and links.</param>
/// <param name="BuiltOnly">Names of those it has built but does not link.</param>
internal sealed record ProjectFile(string Name, IReadOnlyList<string> Projects, IReadOnlyList<string> BuiltOnly, IReadOnlyList<string> Packages)
{
    public static ProjectFile Parse(string name, XDocument document)
    {
        var references = document.Descendants("ProjectReference").ToLookup(
            reference => (string?)reference.Attribute("ReferenceOutputAssembly") == "false",
            reference => Path.GetFileNameWithoutExtension(((string)reference.Attribute("Include")!).Replace('\\', '/')));
        return new ProjectFile(
            name,
            [.. references[false]],
            [.. references[true]],
            [.. document.Descendants("PackageReference").Select(reference => (string)reference.Attribute("Include")!)]);
    }
}

/// <summary>This repository.</summary>
internal static class Repository
{
    public static string Root { get; } = Path.GetFullPath(typeof(Repository).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "RepositoryRoot").Value!);

    public static IReadOnlyList<ProjectFile> Rooms { get; } =
    [
        .. Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Select(file => ProjectFile.Parse(Path.GetFileNameWithoutExtension(file), XDocument.Load(file))),
    ];

    /// <summary>The C# files of a room, without what the build writes.</summary>
    public static IEnumerable<SourceFile> SourcesOf(string room) => SourcesUnder(Path.Combine("src", room));

    /// <summary>The C# files of all test projects.</summary>
    public static IEnumerable<SourceFile> Tests => SourcesUnder("tests");

    private static IEnumerable<SourceFile> SourcesUnder(string folder) =>
        from file in Directory.GetFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories)
        let path = Path.GetRelativePath(Root, file)
        where !path.Split(Path.DirectorySeparatorChar).Any(part => part is "obj" or "bin")
        select new SourceFile(path, File.ReadAllText(file));
}

internal sealed record SourceFile(string Path, string Text);
