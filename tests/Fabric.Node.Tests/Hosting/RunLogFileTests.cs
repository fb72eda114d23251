using Fabric.Migration.Hosts.Runs;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

public sealed class RunLogFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("fabric-runs-").FullName;

    private string Path => System.IO.Path.Combine(folder, "host-a.runs");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_record_is_a_line_of_json()
    {
        using (var log = new RunLogFile(Path, NullLogger.Instance))
            log.Tell(new RunRecord(17, RunEvent.Loaded, "demo", "host-a", "fab0:01:00.1", Generation: 2, Step: 40, Hash: "ab"));

        Assert.Equal(
            """{"at":17,"what":"Loaded","claim":"demo","host":"host-a","function":"fab0:01:00.1","generation":2,"step":40,"hash":"ab"}""" + "\n",
            File.ReadAllText(Path));
    }

    [Fact]
    public void A_line_can_be_read_while_the_daemon_goes_on()
    {
        using var log = new RunLogFile(Path, NullLogger.Instance);

        log.Tell(new RunRecord(1, RunEvent.Afresh, "demo"));

        Assert.Equal([new RunRecord(1, RunEvent.Afresh, "demo")], Read());
    }

    [Fact]
    public void A_daemon_that_is_started_again_goes_on_with_the_file()
    {
        using (var first = new RunLogFile(Path, NullLogger.Instance))
            first.Tell(new RunRecord(1, RunEvent.Afresh, "demo"));
        using (var second = new RunLogFile(Path, NullLogger.Instance))
            second.Tell(new RunRecord(2, RunEvent.Lost, "demo"));

        Assert.Equal([RunEvent.Afresh, RunEvent.Lost], Read().Select(static record => record.What));
    }

    [Fact]
    public void A_file_that_cannot_be_written_is_told_with_its_remedy()
    {
        var refused = Assert.Throws<SettingsException>(() => new RunLogFile(System.IO.Path.Combine(folder, "none", "host-a.runs"), NullLogger.Instance));

        Assert.StartsWith("node.runLog: ", refused.Message, StringComparison.Ordinal);
        Assert.EndsWith("Name a file in a folder that this daemon can write, or leave it empty.", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_disk_that_is_full_ends_the_record_and_nothing_else()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "The system has no /dev/full.");
        using var log = new RunLogFile("/dev/full", NullLogger.Instance);

        log.Tell(new RunRecord(1, RunEvent.Afresh, "demo"));
        log.Tell(new RunRecord(2, RunEvent.Lost, "demo"));
    }

    private IReadOnlyList<RunRecord> Read()
    {
        using var file = new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        return [.. reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(RunRecord.Parse)];
    }
}
