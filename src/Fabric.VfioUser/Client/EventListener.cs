using Fabric.Devices.Hardware;
using Fabric.Linux;
using Fabric.Vfio;

namespace Fabric.VfioUser.Client;

/// <summary>
/// Waits for the eventfds of one device, on a thread that there is while it has any. Not the thread that receives: what an interrupt signals may ask
/// the server for something, and wait for the answer.
/// </summary>
internal sealed class EventListener(LaneThreads threads) : IDisposable
{
    private readonly Lock gate = new();
    private readonly List<Listened> listened = [];
    private EventFd? wake;
    private bool isRunning;

    /// <summary>An eventfd of ours, and what is done when somebody adds to it.</summary>
    internal sealed class Listened(EventFd eventfd, Action signalled)
    {
        public EventFd Eventfd => eventfd;

        public Action Signalled => signalled;

        public bool HasEnded { get; set; }
    }

    /// <summary>Errors: ENOSPC where no descriptors are left.</summary>
    public VfioResult<Listened> Listen(Action signalled)
    {
        lock (gate)
        {
            try
            {
                wake ??= EventFd.Create();
                var added = new Listened(EventFd.Create(), signalled);
                listened.Add(added);
                if (!isRunning)
                {
                    isRunning = true;
                    threads.Run(Run);
                }

                wake.Signal();
                return added;
            }
            catch (IOException)
            {
                return new VfioError(Errno.ENOSPC, "This process has no descriptors left for another interrupt; raise its limit.");
            }
        }
    }

    /// <summary>A signal that is under way may come through still.</summary>
    public void Forget(Listened gone)
    {
        lock (gate)
        {
            gone.HasEnded = true;
            wake?.Signal();
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            foreach (var entry in listened)
                entry.HasEnded = true;
            wake?.Signal();
        }
    }

    private void Run()
    {
        var entries = Array.Empty<Libc.PollEntry>();
        while (Next() is { } now)
        {
            if (entries.Length != now.Length + 1)
                entries = new Libc.PollEntry[now.Length + 1];
            entries[0] = new Libc.PollEntry { Fd = wake!.Number, Events = Libc.PollIn };
            for (var at = 0; at < now.Length; at++)
                entries[at + 1] = new Libc.PollEntry { Fd = now[at].Eventfd.Number, Events = Libc.PollIn };
            Wait(entries);
            if (entries[0].Returned != 0)
                wake.Read();
            for (var at = 0; at < now.Length; at++)
            {
                if (entries[at + 1].Returned != 0 && now[at].Eventfd.Read() > 0 && !now[at].HasEnded)
                    now[at].Signalled();
            }
        }
    }

    /// <summary>Those to be waited for; null where there are none any more. What has ended is let go of here, where nobody waits for it.</summary>
    private Listened[]? Next()
    {
        lock (gate)
        {
            foreach (var gone in listened.Where(static entry => entry.HasEnded))
                gone.Eventfd.Dispose();
            listened.RemoveAll(static entry => entry.HasEnded);
            if (listened.Count > 0)
                return [.. listened];
            isRunning = false;
            wake?.Dispose();
            wake = null;
            return null;
        }
    }

    private static unsafe void Wait(Libc.PollEntry[] entries)
    {
        fixed (Libc.PollEntry* first = entries)
            _ = Libc.Poll(first, (nuint)entries.Length, Libc.PollForever);
    }
}
