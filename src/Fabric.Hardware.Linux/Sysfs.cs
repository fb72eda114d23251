using System.Text;

namespace Fabric.Hardware.Linux;

/// <summary>Paths and attributes of sysfs, whose entries of buses and classes are links into the tree of devices.</summary>
internal static class Sysfs
{
    /// <summary>The path without a link at its end; what is no link is itself.</summary>
    public static string Real(string path) =>
        Path.GetFullPath(new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path).TrimEnd(Path.DirectorySeparatorChar);

    /// <summary>Whether a path, as <see cref="Real"/> gives it, lies below a folder.</summary>
    public static bool IsBelow(string path, string folder) =>
        path.Length > folder.Length && path.StartsWith(folder, StringComparison.Ordinal) && path[folder.Length] == Path.DirectorySeparatorChar;

    /// <summary>Gives an attribute a value, in the one write(2) that the kernel takes for it.</summary>
    /// <exception cref="IOException">The kernel does not take it.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not.</exception>
    public static void Write(string attribute, string text)
    {
        using var file = new FileStream(attribute, FileMode.Truncate, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(Encoding.ASCII.GetBytes(text + "\n"));
    }
}
