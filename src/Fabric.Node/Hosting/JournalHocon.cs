namespace Fabric.Node.Hosting;

/// <summary>Journal and snapshot store in one database.</summary>
internal static class JournalHocon
{
    public static string Sqlite(string connection) => For(connection, "SQLite.MS");

    public static string Postgres(string connection) => For(connection, "PostgreSQL.15");

    private static string For(string connection, string provider) => $$"""
        akka.persistence {
          journal {
            plugin = "akka.persistence.journal.sql"
            sql {
              class = "Akka.Persistence.Sql.Journal.SqlWriteJournal, Akka.Persistence.Sql"
              connection-string = "{{Escape(connection)}}"
              provider-name = "{{provider}}"
            }
          }
          snapshot-store {
            plugin = "akka.persistence.snapshot-store.sql"
            sql {
              class = "Akka.Persistence.Sql.Snapshot.SqlSnapshotStore, Akka.Persistence.Sql"
              connection-string = "{{Escape(connection)}}"
              provider-name = "{{provider}}"
            }
          }
        }
        """;

    private static string Escape(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
}
