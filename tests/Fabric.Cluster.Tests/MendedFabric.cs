using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>One fabric of three hosts for tests that kill what they please: each begins by mending what the one before it has left.</summary>
public abstract class MendedFabric : IAsyncLifetime
{
    private TestFabric? fabric;

    public async ValueTask InitializeAsync() => fabric = await TestFabric.StartAsync(hosts: 3, journal: await JournalAsync());

    public async ValueTask DisposeAsync()
    {
        if (fabric is not null)
            await fabric.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Every daemon is up, and every function free.</summary>
    internal async Task<TestFabric> WholeAsync()
    {
        await fabric!.MendAsync();
        return fabric;
    }

    /// <summary>Connection string of its PostgreSQL; null for SQLite.</summary>
    protected abstract Task<string?> JournalAsync();
}

public sealed class SqliteFabric : MendedFabric
{
    public const string Name = "mended fabric on SQLite";

    protected override Task<string?> JournalAsync() => Task.FromResult<string?>(null);
}

public sealed class PostgreSqlFabric(PrivatePostgres postgres) : MendedFabric
{
    protected override async Task<string?> JournalAsync() => await postgres.NewDatabaseAsync();
}

[CollectionDefinition(SqliteFabric.Name)]
public sealed class SqliteFabricCollection : ICollectionFixture<SqliteFabric>;
