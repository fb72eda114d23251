using Fabric.Vfio;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>The files of a plugin: no more than there may be, nobody else's to change, and none that lies elsewhere.</summary>
internal static class PluginFiles
{
    /// <summary>The folders of plugins, by name, and assemblies that lie where only folders should. Errors: ENOENT, EPERM, EACCES.</summary>
    public static VfioResult<(IReadOnlyList<string> Plugins, IReadOnlyList<string> Astray)> List(PluginOptions options)
    {
        try
        {
            var folder = new DirectoryInfo(options.Folder);
            if (!folder.Exists)
                return new VfioError(Errno.ENOENT, $"The folder of drivers, {options.Folder}, is not there; make it, or leave drivers.folder empty.");
            // Who may write to it could add a plugin. A link to it was named by who configures the daemon.
            if (IsOpenToOthers(new DirectoryInfo(folder.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? folder.FullName)))
                return new VfioError(Errno.EPERM, $"Everybody may write to the folder of drivers, {options.Folder}; take that away (chmod o-w).");
            return (Names(folder.EnumerateDirectories()), Names(folder.EnumerateFiles("*.dll")));
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            return new VfioError(Errno.EACCES, $"The folder of drivers cannot be read: {failed.Message}");
        }
    }

    /// <summary>The plugin's own assembly. Errors: EPERM, EACCES, E2BIG, ENOENT, EINVAL.</summary>
    public static VfioResult<string> Check(string folder, PluginOptions options)
    {
        try
        {
            var root = new DirectoryInfo(folder);
            if (root.LinkTarget is not null)
                return new VfioError(Errno.EPERM, "It is a link, not a folder of its own.");
            if (!root.Exists)
                return new VfioError(Errno.EACCES, "It cannot be read: its folder has gone.");
            var (count, bytes) = (0, 0L);
            var folders = new Stack<DirectoryInfo>([root]);
            if (IsOpenToOthers(root))
                return OpenToOthers("its folder");
            while (folders.TryPop(out var at))
            {
                foreach (var entry in at.EnumerateFileSystemInfos())
                {
                    var name = Path.GetRelativePath(folder, entry.FullName);
                    if (++count > options.MostFiles)
                        return new VfioError(Errno.E2BIG, $"It has more than {options.MostFiles} files.");
                    if (entry.LinkTarget is not null)
                    {
                        if (entry.ResolveLinkTarget(returnFinalTarget: true) is not { Exists: true } target || !IsWithin(target.FullName, folder))
                            return new VfioError(Errno.EPERM, $"Its {name} is a link to what is not in its folder.");
                        continue;
                    }

                    if (IsOpenToOthers(entry))
                        return OpenToOthers($"its {name}");
                    if (entry is DirectoryInfo inner)
                        folders.Push(inner);
                    else if (entry is FileInfo file && (file.Length > options.LargestFile || (bytes += file.Length) > options.LargestPlugin))
                        return TooBig(name, options);
                }
            }

            return MainOf(root);
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            return Unreadable(failed);
        }
    }

    /// <summary>A file of a plugin that was checked. Errors: EACCES, E2BIG.</summary>
    public static VfioResult<byte[]> Read(string file, PluginOptions options)
    {
        try
        {
            return new FileInfo(file).Length > options.LargestFile ? TooBig(Path.GetFileName(file), options) : File.ReadAllBytes(file);
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            return Unreadable(failed);
        }
    }

    public static bool IsWithin(string path, string folder) =>
        Path.GetFullPath(path).StartsWith(Path.Join(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)), "/"), StringComparison.Ordinal);

    /// <summary>The one that has a .deps.json, else the one that is named like its folder, else the only one.</summary>
    private static VfioResult<string> MainOf(DirectoryInfo folder)
    {
        var assemblies = folder.EnumerateFiles("*.dll").Select(static file => file.FullName).Order(StringComparer.Ordinal).ToArray();
        var described = assemblies.Where(static file => File.Exists(Path.ChangeExtension(file, ".deps.json"))).ToArray();
        if (assemblies.Length == 0)
            return new VfioError(Errno.ENOENT, "There is no .dll in its folder.");
        if (described.Length == 1)
            return described[0];
        if (assemblies.FirstOrDefault(file => Path.GetFileNameWithoutExtension(file) == folder.Name) is { } named)
            return named;
        return assemblies.Length == 1
            ? assemblies[0]
            : new VfioError(
                Errno.EINVAL, $"Which of its {assemblies.Length} .dll is the plugin cannot be told; put the .deps.json of that one beside it.");
    }

    private static string[] Names(IEnumerable<FileSystemInfo> entries) =>
        [.. entries.Select(static entry => entry.Name).Order(StringComparer.Ordinal)];

    private static VfioError TooBig(string file, PluginOptions options) => new(
        Errno.E2BIG, $"Its {file} is too big: a file may have {options.LargestFile >> 20} MiB, all {options.LargestPlugin >> 20} MiB.");

    private static bool IsOpenToOthers(FileSystemInfo entry) =>
        !OperatingSystem.IsWindows() && (entry.UnixFileMode & UnixFileMode.OtherWrite) != 0;

    private static VfioError OpenToOthers(string what) => new(Errno.EPERM, $"Everybody may write to {what}; take that away (chmod o-w).");

    private static VfioError Unreadable(Exception failed) => new(Errno.EACCES, $"It cannot be read: {failed.Message}");
}
