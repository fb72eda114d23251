using System.Data.Common;
using System.Security.Cryptography;
using Fabric.Node.Configuration;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Fabric.Node.Hosting;

/// <summary>
/// Whether this control node's journal takes what a claim writes, found out by writing as much to a row of its own. Sharding answers nobody
/// while it cannot remember a new claim, so somebody else has to say why.
/// </summary>
internal sealed class JournalProbe(FabricSettings settings, JournalOfNode journal)
{
    /// <summary>About what a new claim writes, with its shard.</summary>
    private const int SampleBytes = 64 * 1024;

    /// <summary>Null, or why it does not. Null too where this node has no journal: the claim's control node has to say.</summary>
    public async Task<string?> ProblemAsync()
    {
        if (!settings.IsControl)
            return null;
        try
        {
            await using DbConnection connection = journal.Sqlite is { } sqlite
                ? new SqliteConnection(sqlite.ConnectionString)
                : new NpgsqlConnection(settings.Journal.Connection);
            await connection.OpenAsync();
            await using var create = connection.CreateCommand();
            create.CommandText = $"CREATE TABLE IF NOT EXISTS fabric_probe (node VARCHAR(63) PRIMARY KEY, sample {(journal.Sqlite is null ? "BYTEA" : "BLOB")} NOT NULL)";
            await create.ExecuteNonQueryAsync();
            await using var write = connection.CreateCommand();
            write.CommandText = "INSERT INTO fabric_probe (node, sample) VALUES (@node, @sample) ON CONFLICT (node) DO UPDATE SET sample = excluded.sample";
            Add(write, "@node", settings.Node.Name);
            // Other bytes each time: SQLite does not write a page again that already holds what it should.
            Add(write, "@sample", RandomNumberGenerator.GetBytes(SampleBytes));
            await write.ExecuteNonQueryAsync();
            return null;
        }
        catch (DbException refused)
        {
            return refused.GetBaseException().Message;
        }
    }

    private static void Add(DbCommand command, string name, object value)
    {
        var parameter = command.CreateParameter();
        (parameter.ParameterName, parameter.Value) = (name, value);
        command.Parameters.Add(parameter);
    }
}
