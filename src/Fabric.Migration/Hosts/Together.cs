using System.Runtime.ExceptionServices;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Parts of one work that go on side by side, each on a thread of its own: when one fails the others are ended, and what failed first is what is
/// told.
/// </summary>
internal static class Together
{
    /// <returns>What the parts gave, in their order, when all of them have ended.</returns>
    public static async Task<T[]> RunAsync<T>(IEnumerable<Func<CancellationToken, Task<T>>> parts, CancellationToken cancellation)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ExceptionDispatchInfo? first = null;
        var running = parts.Select(part => StreamThread.RunAsync(() => RunAsync(part))).ToArray();
        var results = await Task.WhenAll(running);
        first?.Throw();
        return results!;

        async Task<T?> RunAsync(Func<CancellationToken, Task<T>> part)
        {
            try
            {
                return await part(ending.Token);
            }
            catch (Exception failure)
            {
                if (Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(failure), null) is null)
                    await ending.CancelAsync();
                return default;
            }
        }
    }

    public static Task RunAsync(IEnumerable<Func<CancellationToken, Task>> parts, CancellationToken cancellation) => RunAsync(
        parts.Select<Func<CancellationToken, Task>, Func<CancellationToken, Task<bool>>>(part => async ending =>
        {
            await part(ending);
            return true;
        }),
        cancellation);

    /// <summary>Waits for the other parts, and meanwhile tells the peer now and then that this end is alive: it gives up on a silent one.</summary>
    public static async Task AwaitAsync(Task others, Func<CancellationToken, ValueTask> keepAlive, TimeProvider time, CancellationToken cancellation)
    {
        while (!others.IsCompleted)
        {
            await Task.WhenAny(others, Task.Delay(KeepAliveInterval, time, cancellation));
            cancellation.ThrowIfCancellationRequested();
            if (!others.IsCompleted)
                await keepAlive(cancellation);
        }

        await others;
    }

    /// <summary>Well within the time after which a peer counts as dead.</summary>
    private static readonly TimeSpan KeepAliveInterval = TimeSpan.FromSeconds(2);
}
