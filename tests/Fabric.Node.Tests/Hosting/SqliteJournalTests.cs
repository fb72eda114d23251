using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Microsoft.Data.Sqlite;

namespace Fabric.Node.Tests.Hosting;

public sealed class SqliteJournalTests
{
    [Fact]
    public void A_second_daemon_on_the_same_file_is_refused_and_told_of_PostgreSQL()
    {
        using var folder = new TemporaryFolder();
        using var first = SqliteJournal.Open(folder.Path);

        var refused = Assert.Throws<SettingsException>(() => SqliteJournal.Open(folder.Path));

        Assert.Contains(Path.Combine(folder.Path, "journal.db"), refused.Message, StringComparison.Ordinal);
        Assert.EndsWith("One control node writes a SQLite journal; for several, set journal.connection to a PostgreSQL.", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_was_let_go_can_be_opened_again()
    {
        using var folder = new TemporaryFolder();
        SqliteJournal.Open(folder.Path).Dispose();

        using var again = SqliteJournal.Open(folder.Path);

        Assert.True(File.Exists(Path.Combine(folder.Path, "journal.db")));
    }

    [Fact]
    public void A_refused_daemon_leaves_the_first_one_its_lock()
    {
        using var folder = new TemporaryFolder();
        using var first = SqliteJournal.Open(folder.Path);

        Assert.Throws<SettingsException>(() => SqliteJournal.Open(folder.Path));

        Assert.Throws<SettingsException>(() => SqliteJournal.Open(folder.Path));
    }

    [Fact]
    public void The_file_keeps_a_write_ahead_log()
    {
        using var folder = new TemporaryFolder();
        using var journal = SqliteJournal.Open(folder.Path);
        using var connection = new SqliteConnection(journal.ConnectionString);
        connection.Open();
        using var mode = connection.CreateCommand();
        mode.CommandText = "PRAGMA journal_mode";

        Assert.Equal("wal", mode.ExecuteScalar());
    }

    [Fact]
    public void A_file_that_is_no_database_is_named_and_let_go()
    {
        using var folder = new TemporaryFolder();
        var file = folder.File("journal.db", new string('x', 8192));

        var refused = Assert.Throws<SettingsException>(() => SqliteJournal.Open(folder.Path));

        Assert.StartsWith($"The journal {file} cannot be opened:", refused.Message, StringComparison.Ordinal);
        File.Delete(file);
        SqliteJournal.Open(folder.Path).Dispose();
    }

    [Fact]
    public void A_folder_that_is_not_there_is_refused_with_a_sentence() =>
        Assert.Throws<SettingsException>(() => SqliteJournal.Open("/nowhere/at/all"));
}
