using Fabric.Node.Configuration;
using Microsoft.Data.Sqlite;

namespace Fabric.Node.Hosting;

/// <summary>
/// An embedded journal: one SQLite file with one writer. The lock is what keeps a second daemon from the same file. Claims have one on a control
/// node, and a second control node with a file of its own is refused when it joins (<see cref="SoleWriter"/>); each host has one of its devices.
/// </summary>
internal sealed class SqliteJournal : IDisposable
{
    private readonly FileStream fileLock;

    private SqliteJournal(string file, FileStream fileLock)
    {
        this.fileLock = fileLock;
        ConnectionString = new SqliteConnectionStringBuilder { DataSource = file, DefaultTimeout = 5 }.ToString();
    }

    public const string OneWriter = "One control node writes a SQLite journal; for several, set journal.connection to a PostgreSQL.";

    public string ConnectionString { get; }

    /// <summary>The journal of claims.</summary>
    /// <exception cref="SettingsException">The file is another daemon's, or cannot be written.</exception>
    public static SqliteJournal Open(string directory) => Open(
        Path.Combine(directory, "journal.db"),
        "The journal",
        "One control node writes a SQLite journal; for several, set journal.connection to a PostgreSQL.");

    /// <summary>
    /// The histories of this host's devices. A host that cannot write them does not start: it would put devices back into service that are in
    /// quarantine, and nobody looks at the log of a daemon that runs.
    /// </summary>
    /// <exception cref="SettingsException">The file is another daemon's, or cannot be written.</exception>
    public static SqliteJournal OpenHistory(string directory) => Open(
        Path.Combine(directory, "history.db"),
        "The history of this host's devices,",
        "Each host keeps its own: give it a node.dataDirectory that it alone can write.");

    private static SqliteJournal Open(string file, string what, string remedy)
    {
        FileStream fileLock;
        try
        {
            fileLock = new FileStream(file + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception held) when (held is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"{what} {file} is in use by another daemon, or cannot be written ({held.Message}). {remedy}", held);
        }

        var journal = new SqliteJournal(file, fileLock);
        try
        {
            // Kept in the file: readers do not block the writer, and a commit is one append.
            // Not pooled: a file that is refused must not stay open.
            using var connection = new SqliteConnection(journal.ConnectionString + ";Pooling=False");
            connection.Open();
            using var wal = connection.CreateCommand();
            wal.CommandText = "PRAGMA journal_mode=wal";
            wal.ExecuteNonQuery();
            return journal;
        }
        catch (SqliteException broken)
        {
            journal.Dispose();
            throw new SettingsException($"{what} {file} cannot be opened: {broken.Message} Look at the disk's space and rights, or restore the file.", broken);
        }
    }

    public void Dispose() => fileLock.Dispose();
}
