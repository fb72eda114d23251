using System.Collections.Concurrent;

namespace Fabric.Devices.Hardware;

/// <summary>
/// Threads for calls to hardware that may take long or for ever: never those of the actors. As many as calls are under way, one a device at
/// most; one that has been idle for a while ends.
/// </summary>
public sealed class LaneThreads
{
    private static readonly TimeSpan IdleLife = TimeSpan.FromSeconds(10);

    private readonly ConcurrentStack<Worker> idle = new();

    /// <summary>Runs a call on a thread of its own. It must not throw.</summary>
    public void Run(Action call)
    {
        while (idle.TryPop(out var worker))
        {
            if (worker.TryGive(call))
                return;
        }

        new Worker(this, call).Start();
    }

    private sealed class Worker(LaneThreads threads, Action first)
    {
        private readonly Lock gate = new();
        private readonly AutoResetEvent given = new(false);
        private Action? next = first;
        private bool ended;

        public void Start() => new Thread(Work) { IsBackground = true, Name = "hardware lane" }.Start();

        public bool TryGive(Action call)
        {
            lock (gate)
            {
                if (ended)
                    return false;
                next = call;
            }

            given.Set();
            return true;
        }

        private void Work()
        {
            while (true)
            {
                next!();
                next = null;
                threads.idle.Push(this);
                if (given.WaitOne(IdleLife))
                    continue;
                lock (gate)
                {
                    // Given something in the last moment: it is not left behind.
                    if (next is null)
                    {
                        ended = true;
                        given.Dispose();
                        return;
                    }
                }

                given.WaitOne();
            }
        }
    }
}
