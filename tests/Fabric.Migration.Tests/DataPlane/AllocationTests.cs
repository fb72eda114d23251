using System.Diagnostics;
using System.Reflection;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

// Counts the whole process's allocations, so nothing else may run.
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
public sealed class AllocationCollection;

[Collection(nameof(AllocationTests))]
public sealed class AllocationTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(4096, 20_000)]
    [InlineData(100_000, 12_000)]
    public async Task Streaming_allocates_nothing_per_frame(int length, int frames)
    {
        var debuggable = typeof(MigrationWriter).Assembly.GetCustomAttribute<DebuggableAttribute>();
        if (debuggable is { IsJITOptimizerDisabled: true })
            Assert.Skip("An unoptimized build keeps the state of every async method on the heap.");
        var data = new byte[length];
        await using var link = await Link.OpenAsync();
        await StreamAsync(link, data, frames);

        // What threads and rounds cost is in both.
        var few = await AllocatedAsync(link, data, frames);
        var many = await AllocatedAsync(link, data, 3 * frames);

        var perFrame = (many - few) / (2.0 * frames);
        Assert.True(perFrame < 16, $"{perFrame} bytes per frame");
    }

    private static async Task<long> AllocatedAsync(Link link, byte[] data, int frames)
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        await StreamAsync(link, data, frames);
        return GC.GetTotalAllocatedBytes(precise: true) - before;
    }

    private static async Task StreamAsync(Link link, byte[] data, int frames)
    {
        var reading = StreamThread.RunAsync(() => ReadRoundAsync(link.Reader));
        await StreamThread.RunAsync(async () =>
        {
            for (var i = 0; i < frames; i++)
                await link.Writer.WriteMemoryAsync((ulong)i, data, Ct);
            await link.Writer.EndRoundAsync(0, Ct);
        });
        await reading;
    }

    private static async Task ReadRoundAsync(MigrationReader reader)
    {
        while (await reader.ReadAsync(Ct) is not MigrationFrame.RoundEnd)
        {
        }

        await reader.AcknowledgeRoundAsync(0, Ct);
    }
}
