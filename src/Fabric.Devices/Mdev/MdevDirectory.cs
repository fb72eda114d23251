using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using Fabric.Vfio;

namespace Fabric.Devices.Mdev;

/// <summary>
/// Definitions as files, laid out as mdevctl lays them in /etc/mdevctl.d: a folder for each parent, in it a JSON file for each device, named by its
/// UUID. A file is written beside its place, brought to disk, and moved there, so that a crash leaves all of it or nothing.
/// </summary>
/// <param name="folder">Comes to be with the first definition.</param>
public sealed class MdevDirectory(string folder) : IMdevStore
{
    /// <summary>The name of a file that is being written ends so.</summary>
    private const string Unfinished = ".new";

    private const int MostBytes = 64 << 10;
    private const string Auto = "auto";
    private const string Manual = "manual";

    private static readonly JsonSerializerOptions Format = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        RespectNullableAnnotations = true,
    };

    /// <summary>A file's content, in mdevctl's words.</summary>
    /// <param name="Start"><c>auto</c> or <c>manual</c>.</param>
    /// <param name="Attrs">Writes to sysfs after it was made, of which no parent here takes any: empty.</param>
    private sealed record Document(
        [property: JsonRequired] string MdevType, [property: JsonRequired] string Start, ImmutableArray<JsonElement> Attrs = default);

    public StoredDefinitions Load()
    {
        var definitions = ImmutableArray.CreateBuilder<MdevDefinition>();
        var unusable = ImmutableArray.CreateBuilder<UnusableDefinition>();
        foreach (var path in Look(folder, unusable))
        {
            if (!Directory.Exists(path))
                unusable.Add(new UnusableDefinition(path, "it is in no folder of a parent", null));
            else
                LoadParent(path, definitions, unusable);
        }

        return new StoredDefinitions(definitions.ToImmutable(), unusable.ToImmutable());
    }

    public VfioResult Save(MdevDefinition definition)
    {
        ArgumentNullException.ThrowIfNull(definition);
        var path = PathOf(definition);
        var written = path + Unfinished;
        var isThere = false;
        try
        {
            var parent = Path.GetDirectoryName(path)!;
            Directory.CreateDirectory(parent);
            if (Path.Exists(path))
                return VfioResult.Fail(Errno.EEXIST, $"There is a file {path} already; move it away, or take another UUID.");
            using (var stream = new FileStream(written, FileMode.Create, FileAccess.Write, FileShare.None))
            {
                JsonSerializer.Serialize(stream, new Document(definition.Type, definition.AutoStart ? Auto : Manual, []), Format);
                stream.Flush(flushToDisk: true);
            }

            File.Move(written, path);
            isThere = true;
            // A folder that has just come to be is an entry of the one above it.
            foreach (var changed in (string[])[parent, folder, Path.GetDirectoryName(Path.GetFullPath(folder))!])
                FolderEntry.BringToDisk(changed);
            return VfioResult.Ok;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            var left = isThere && !Delete(definition).IsOk ? " It lies there all the same: delete it." : "";
            return VfioResult.Fail(Errno.EIO, $"The definition could not be brought to disk as {path}: {cause.Message.TrimEnd('.')}.{left}");
        }
    }

    public VfioResult Delete(MdevDefinition definition)
    {
        ArgumentNullException.ThrowIfNull(definition);
        var path = PathOf(definition);
        try
        {
            if (!File.Exists(path))
                return VfioResult.Ok;
            File.Delete(path);
            FolderEntry.BringToDisk(Path.GetDirectoryName(path)!);
            return VfioResult.Ok;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            return VfioResult.Fail(Errno.EIO, $"The definition {path} could not be deleted for good: {cause.Message.TrimEnd('.')}.");
        }
    }

    private string PathOf(MdevDefinition definition) => Path.Combine(folder, definition.Parent, definition.Uuid.ToString());

    private static void LoadParent(
        string path, ImmutableArray<MdevDefinition>.Builder definitions, ImmutableArray<UnusableDefinition>.Builder unusable)
    {
        foreach (var file in Look(path, unusable))
        {
            var name = Path.GetFileName(file);
            if (name.EndsWith(Unfinished, StringComparison.Ordinal) && IsUuid(name[..^Unfinished.Length], out _))
            {
                // Begun and never acknowledged: the next definition of that UUID writes over it.
                continue;
            }

            if (!IsUuid(name, out var uuid))
                unusable.Add(new UnusableDefinition(file, "its name is no UUID in lowercase", null));
            else if (Read(file, out var why) is not { } document)
                unusable.Add(new UnusableDefinition(file, why, uuid));
            else
                definitions.Add(new MdevDefinition(uuid, Path.GetFileName(path), document.MdevType, document.Start == Auto));
        }
    }

    /// <summary>A folder's entries by name.</summary>
    private static string[] Look(string path, ImmutableArray<UnusableDefinition>.Builder unusable)
    {
        try
        {
            return Path.Exists(path) ? [.. Directory.EnumerateFileSystemEntries(path).Order(StringComparer.Ordinal)] : [];
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            unusable.Add(new UnusableDefinition(path, $"it cannot be read: {cause.Message.TrimEnd('.')}", null));
            return [];
        }
    }

    private static Document? Read(string file, out string why)
    {
        try
        {
            if (!File.Exists(file) || new FileInfo(file).Length > MostBytes)
            {
                why = $"it is no file of at most {MostBytes / 1024} KiB";
                return null;
            }

            var document = JsonSerializer.Deserialize<Document>(File.ReadAllBytes(file), Format);
            why = document switch
            {
                null => "it is null, and no definition",
                { Start: not (Auto or Manual) } => $"its start is '{document.Start}'; there are auto and manual",
                { Attrs: { IsDefaultOrEmpty: false } } => "it has attrs, which no parent of this host takes",
                _ => "",
            };
            return why.Length == 0 ? document : null;
        }
        catch (JsonException malformed)
        {
            // The parser's own words, without the position that it ends them with.
            var cause = malformed.Message.Split(" Path: ")[0].Split(" LineNumber: ")[0].TrimEnd('.');
            why = $"it is no definition, at line {(malformed.LineNumber ?? 0) + 1}: {cause}";
            return null;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            why = $"it cannot be read: {cause.Message.TrimEnd('.')}";
            return null;
        }
    }

    private static bool IsUuid(string name, out Guid uuid) => Guid.TryParseExact(name, "D", out uuid) && uuid.ToString() == name;

    /// <summary>What a folder says of its files is brought to disk by a call of its own, which the framework does not have.</summary>
    private static class FolderEntry
    {
        private const int ReadOnly = 0;

        public static void BringToDisk(string folder)
        {
            var descriptor = Open(folder, ReadOnly);
            if (descriptor < 0)
                throw new IOException($"{folder} cannot be opened (errno {Marshal.GetLastPInvokeError()})");
            try
            {
                if (Synchronize(descriptor) != 0)
                    throw new IOException($"{folder} cannot be brought to disk (errno {Marshal.GetLastPInvokeError()})");
            }
            finally
            {
                _ = Close(descriptor);
            }
        }

        [DllImport("libc", EntryPoint = "open", SetLastError = true)]
        private static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

        [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
        private static extern int Synchronize(int descriptor);

        [DllImport("libc", EntryPoint = "close")]
        private static extern int Close(int descriptor);
    }
}
