using System.Collections.Concurrent;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// A thread of a stream's own: what its code awaits goes on on it. A connection that is used on it waits in the kernel, where the peer wakes it
/// directly; a pool's thread would be woken by the thread that watches all sockets, and must not wait.
/// </summary>
public sealed class StreamThread : SynchronizationContext
{
    private readonly BlockingCollection<(SendOrPostCallback Call, object? State)> _due = [];

    private StreamThread()
    {
    }

    /// <summary>Whether the calling thread is one.</summary>
    internal static bool IsCurrent => Current is StreamThread;

    /// <summary>Runs <paramref name="stream"/> on a thread of its own, which ends with it.</summary>
    public static Task<T> RunAsync<T>(Func<Task<T>> stream)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() => new StreamThread().Run(stream, done)) { IsBackground = true, Name = "stream" }.Start();
        return done.Task;
    }

    /// <inheritdoc cref="RunAsync{T}"/>
    public static Task RunAsync(Func<Task> stream) => RunAsync(async () =>
    {
        await stream();
        return true;
    });

    public override void Post(SendOrPostCallback d, object? state)
    {
        try
        {
            _due.Add((d, state));
        }
        catch (InvalidOperationException)
        {
            // Its stream has ended, and left something behind.
            base.Post(d, state);
        }
    }

    public override void Send(SendOrPostCallback d, object? state) => throw new NotSupportedException("Nobody waits for the thread of a stream.");

    private void Run<T>(Func<Task<T>> stream, TaskCompletionSource<T> done)
    {
        SetSynchronizationContext(this);
        var running = BeginAsync();
        running.ContinueWith(_ => _due.CompleteAdding(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        foreach (var (call, state) in _due.GetConsumingEnumerable())
            call(state);
        done.SetFromTask(running);

        // So that what it throws before it waits is told as all else.
        async Task<T> BeginAsync() => await stream();
    }
}
