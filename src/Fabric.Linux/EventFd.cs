using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Linux;

/// <summary>An eventfd, eventfd(2): ours, or one that a client gave for an interrupt.</summary>
internal sealed class EventFd : Descriptor, IEventTarget
{
    private const string Link = "anon_inode:[eventfd]";

    private EventFd(int fd)
        : base(fd)
    {
    }

    /// <exception cref="IOException">There are no descriptors left.</exception>
    public static EventFd Create()
    {
        var fd = Libc.EventFd(0, Libc.CloseOnExec | Libc.NonBlocking);
        return fd >= 0 ? new EventFd(fd) : throw new IOException($"eventfd(2) failed with errno {Marshal.GetLastPInvokeError()}.");
    }

    /// <summary>Takes over a descriptor that a client sent. Errors: EINVAL for what is no eventfd; it is closed then.</summary>
    public static VfioResult<EventFd> Take(Descriptor received)
    {
        var link = new FileInfo($"/proc/self/fd/{received.Number}").LinkTarget;
        if (link != Link)
        {
            received.Dispose();
            return new VfioError(Errno.EINVAL, "SET_IRQS: the descriptor is not that of an eventfd; make one with eventfd(2).");
        }

        var fd = received.Number;
        received.SetHandleAsInvalid();
        return new EventFd(fd);
    }

    /// <summary>
    /// Adds 1. A counter that its owner has filled up takes no more, and is not waited for: that the interrupt is pending it says already. Whether
    /// it is full is asked just before, so only who fills it in that very moment holds up the thread that signals.
    /// </summary>
    public unsafe void Signal()
    {
        var held = false;
        try
        {
            DangerousAddRef(ref held);
            var entry = new Libc.PollEntry { Fd = Number, Events = Libc.PollOut };
            var one = 1UL;
            if (Libc.Poll(&entry, 1, 0) == 1 && (entry.Returned & Libc.PollOut) != 0)
                _ = Libc.Write(this, &one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // An interrupt that overtook its own end: nobody listens any more.
        }
        finally
        {
            if (held)
                DangerousRelease();
        }
    }

    /// <summary>What was added since the last time; 0 where nothing was. Of our own alone: a client's may wait.</summary>
    public unsafe ulong Read()
    {
        ulong count;
        return Libc.Read(this, &count, sizeof(ulong)) == sizeof(ulong) ? count : 0;
    }
}
