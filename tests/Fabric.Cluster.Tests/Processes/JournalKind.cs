namespace Fabric.Cluster.Tests.Processes;

/// <summary>What the control nodes of a fabric write to.</summary>
public enum JournalKind
{
    /// <summary>A file of the one control node.</summary>
    Sqlite,

    /// <summary>A server that several control nodes share.</summary>
    PostgreSql,
}

internal static class JournalKinds
{
    /// <summary>The connection string for such a journal; null for the file, which needs none.</summary>
    public static async Task<string?> JournalAsync(this PrivatePostgres postgres, JournalKind kind) =>
        kind == JournalKind.PostgreSql ? await postgres.NewDatabaseAsync() : null;
}
