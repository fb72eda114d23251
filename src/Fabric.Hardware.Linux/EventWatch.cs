using Fabric.Linux;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux;

/// <summary>
/// Waits for files that the kernel makes readable when something happens (eventfds, sockets), and says so, from a thread of its own: the
/// hardware's. They come and go while it waits.
/// </summary>
internal sealed class EventWatch : IDisposable
{
    private readonly Lock gate = new();
    private readonly List<Watched> watched = [];
    private readonly EventFd changed = EventFd.Create();
    private readonly Thread thread;
    private bool isEnding;

    public EventWatch()
    {
        thread = new Thread(Watch) { IsBackground = true, Name = "hardware events" };
        thread.Start();
    }

    /// <summary>Passes on every signal of an eventfd from now on.</summary>
    /// <param name="listener">Must not block, and may dispose what this returned.</param>
    public IDisposable Add(EventFd eventfd, IEventTarget listener) => Add(eventfd, () =>
    {
        if (eventfd.Read() > 0)
            listener.Signal();
    });

    /// <summary>
    /// Calls back whenever a file is readable, from now on. Disposing ends that: when it has returned, nobody is called any more, and the file may be
    /// closed.
    /// </summary>
    /// <param name="readable">Reads the file. Must not block, and may dispose what this returned.</param>
    public IDisposable Add(Descriptor file, Action readable)
    {
        var added = new Watched(this, file, readable);
        lock (gate)
            watched.Add(added);
        changed.Signal();
        return added;
    }

    public void Dispose()
    {
        Volatile.Write(ref isEnding, true);
        changed.Signal();
        if (Thread.CurrentThread != thread)
            thread.Join();
        changed.Dispose();
    }

    private unsafe void Watch()
    {
        while (!Volatile.Read(ref isEnding))
        {
            Watched[] waiting;
            lock (gate)
                waiting = [.. watched];
            var entries = new Libc.PollEntry[waiting.Length + 1];
            entries[0] = new Libc.PollEntry { Fd = changed.Number, Events = Libc.PollIn };
            for (var index = 0; index < waiting.Length; index++)
                entries[index + 1] = new Libc.PollEntry { Fd = waiting[index].Number, Events = Libc.PollIn };
            do
            {
                fixed (Libc.PollEntry* first = entries)
                    _ = Libc.Poll(first, (nuint)entries.Length, timeoutMs: -1);
                for (var index = 0; index < waiting.Length; index++)
                {
                    if (entries[index + 1].Returned != 0)
                        waiting[index].PassOn();
                }
            }
            while (entries[0].Returned == 0);
            changed.Read();
        }
    }

    private sealed class Watched(EventWatch watch, Descriptor file, Action readable) : IDisposable
    {
        private readonly Lock turn = new();
        private bool isGone;

        public int Number { get; } = file.Number;

        public void PassOn()
        {
            lock (turn)
            {
                if (!isGone)
                    readable();
            }
        }

        public void Dispose()
        {
            lock (turn)
                isGone = true;
            lock (watch.gate)
                watch.watched.Remove(this);
            watch.changed.Signal();
        }
    }
}
