namespace Fabric.Cli.Demo;

/// <summary>The last lines of a log that may still be written.</summary>
internal static class LogTail
{
    private const int LongestLine = 400;

    public static string Of(string path, int lines)
    {
        if (!File.Exists(path))
            return "  (no log)";
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        var last = new Queue<string>(lines);
        while (reader.ReadLine() is { } line)
        {
            if (last.Count == lines)
                last.Dequeue();
            last.Enqueue(line.Length > LongestLine ? line[..LongestLine] + "…" : line);
        }

        return last.Count == 0 ? "  (empty)" : string.Join('\n', last.Select(line => "  " + line));
    }
}
