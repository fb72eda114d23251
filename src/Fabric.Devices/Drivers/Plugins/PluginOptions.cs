namespace Fabric.Devices.Drivers.Plugins;

/// <summary>Where a host finds drivers that are not in the box, and what it puts up with.</summary>
/// <param name="Folder">Has a folder for each plugin.</param>
public sealed record PluginOptions(string Folder)
{
    /// <summary>A plugin that is not loaded and tried by then is given up; the thread that it holds is not had back.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Bytes of one file.</summary>
    public long LargestFile { get; init; } = 64L << 20;

    /// <summary>Bytes of all files of a plugin.</summary>
    public long LargestPlugin { get; init; } = 256L << 20;

    /// <summary>Files and folders of a plugin.</summary>
    public int MostFiles { get; init; } = 1000;
}
