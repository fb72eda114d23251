using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>One fabric of three hosts for tests that kill what they please: each begins by mending what the one before it has left.</summary>
public abstract class MendedFabric : IAsyncLifetime
{
    private TestFabric? fabric;

    /// <summary>Why this machine cannot have it; null where it can.</summary>
    private protected virtual string? WhyNot => null;

    public async ValueTask InitializeAsync()
    {
        if (WhyNot is null)
            fabric = await StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (fabric is not null)
            await fabric.DisposeAsync();
        await EndAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Every daemon is up, and every function free.</summary>
    internal async Task<TestFabric> WholeAsync()
    {
        Assert.SkipWhen(WhyNot is not null, WhyNot ?? "");
        await fabric!.MendAsync();
        return fabric;
    }

    private protected abstract Task<TestFabric> StartAsync();

    /// <summary>Takes away what the fabric was started on.</summary>
    private protected virtual ValueTask EndAsync() => ValueTask.CompletedTask;
}

public sealed class SqliteFabric : MendedFabric
{
    public const string Name = "mended fabric on SQLite";

    private protected override Task<TestFabric> StartAsync() => TestFabric.StartAsync(hosts: 3);
}

public sealed class PostgreSqlFabric(PrivatePostgres postgres) : MendedFabric
{
    private protected override async Task<TestFabric> StartAsync() => await TestFabric.StartAsync(hosts: 3, journal: await postgres.NewDatabaseAsync());
}

[CollectionDefinition(SqliteFabric.Name)]
public sealed class SqliteFabricCollection : ICollectionFixture<SqliteFabric>;
