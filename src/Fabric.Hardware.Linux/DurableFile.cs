using System.Text.Json;

namespace Fabric.Hardware.Linux;

/// <summary>Files that are whole, as they were or as they are now, whatever ends this process.</summary>
internal static class DurableFile
{
    /// <summary>The content is on the disk before the file has it. Its folder is made where there is none.</summary>
    public static void Write<T>(string file, T value)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        var written = file + ".new";
        using (var stream = File.Create(written))
        {
            JsonSerializer.Serialize(stream, value);
            stream.Flush(flushToDisk: true);
        }

        File.Move(written, file, overwrite: true);
    }
}
