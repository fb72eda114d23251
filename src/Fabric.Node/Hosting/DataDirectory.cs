using Fabric.Node.Configuration;

namespace Fabric.Node.Hosting;

/// <summary>A daemon's folder, held against every other daemon for as long as this one runs; the system lets go of it when the process dies.</summary>
internal sealed class DataDirectory : IDisposable
{
    private readonly FileStream held;

    private DataDirectory(FileStream held) => this.held = held;

    /// <exception cref="SettingsException">It cannot be made or written, or another daemon has it.</exception>
    public static DataDirectory Take(FabricSettings settings)
    {
        var path = settings.Node.DataDirectory;
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"node.dataDirectory '{path}' cannot be made: {refused.Message.TrimEnd('.')}; name a folder that this daemon may write.", refused);
        }

        try
        {
            return new DataDirectory(new FileStream(Path.Combine(path, "daemon.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            var several = settings is { IsControl: true, Journal.IsSqlite: true } ? $" {SqliteJournal.OneWriter}" : "";
            throw new SettingsException(
                $"node.dataDirectory '{path}' is in use by another daemon, or cannot be written ({refused.Message.TrimEnd('.')}); "
                + $"each daemon needs a folder of its own.{several}", refused);
        }
    }

    public void Dispose() => held.Dispose();
}
