using System.Text;
using Fabric.Migration.Hosts.Runs;
using Fabric.Node.Configuration;

namespace Fabric.Node.Hosting;

/// <summary>A line of JSON for each record, in the system's hands before <see cref="Tell"/> returns: what was told outlives <c>kill -9</c>.</summary>
internal sealed class RunLogFile : IRunLog, IDisposable
{
    private readonly Lock gate = new();
    private readonly FileStream file;
    private readonly ILogger log;
    private bool ended;

    /// <exception cref="SettingsException">The file cannot be written.</exception>
    public RunLogFile(string path, ILogger log)
    {
        this.log = log;
        try
        {
            file = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"node.runLog: {path} cannot be written: {refused.Message} Name a file in a folder that this daemon can write, or leave it empty.", refused);
        }
    }

    public void Tell(RunRecord record)
    {
        var line = Encoding.UTF8.GetBytes(record.ToLine() + "\n");
        lock (gate)
        {
            if (ended)
                return;
            try
            {
                file.Write(line);
            }
            catch (IOException full)
            {
                // A record with a hole says less than none; devices go on.
                ended = true;
                log.LogError(full, "The run log {File} cannot be written any more, and ends here", file.Name);
            }
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            ended = true;
            file.Dispose();
        }
    }
}
