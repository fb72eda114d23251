using Fabric.Node.Configuration;
using Microsoft.Data.Sqlite;

namespace Fabric.Node.Hosting;

/// <summary>
/// The embedded journal: one SQLite file with one writer. The lock is what keeps a second daemon from the same file; a second control node
/// with a file of its own is refused when it joins (<see cref="SoleWriter"/>).
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

    /// <exception cref="SettingsException">The file is another daemon's, or cannot be written.</exception>
    public static SqliteJournal Open(string directory)
    {
        var file = Path.Combine(directory, "journal.db");
        FileStream fileLock;
        try
        {
            fileLock = new FileStream(file + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException held)
        {
            throw new SettingsException(
                $"The journal {file} is in use by another daemon, or cannot be written ({held.Message}). {OneWriter}", held);
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
            throw new SettingsException($"The journal {file} cannot be opened: {broken.Message} Look at the disk's space and rights, or restore the file.", broken);
        }
    }

    public void Dispose() => fileLock.Dispose();
}
