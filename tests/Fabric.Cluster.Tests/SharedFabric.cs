using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>One fabric of three hosts for every test that leaves it as it found it.</summary>
public sealed class SharedFabric : IAsyncLifetime
{
    public const string Name = "shared fabric";

    internal TestFabric Fabric { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Fabric = await TestFabric.StartAsync(hosts: 3);

    public async ValueTask DisposeAsync()
    {
        if (Fabric is not null)
            await Fabric.DisposeAsync();
    }
}

[CollectionDefinition(SharedFabric.Name)]
public sealed class SharedFabricCollection : ICollectionFixture<SharedFabric>;
