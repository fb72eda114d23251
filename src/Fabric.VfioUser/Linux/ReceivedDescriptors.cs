using Fabric.Linux;

namespace Fabric.VfioUser.Linux;

/// <summary>The descriptors that came with one message. What nobody takes is closed with it.</summary>
internal sealed class ReceivedDescriptors
{
    /// <summary>Of one message, and what VERSION tells the peer: QEMU takes no larger number.</summary>
    public const int Max = 16;

    private readonly int[] fds = new int[Max];

    public int Count { get; private set; }

    /// <summary>More came than may; those beyond were closed by the kernel or here.</summary>
    public bool IsTooMany { get; set; }

    public void Add(int fd)
    {
        if (Count < Max)
        {
            fds[Count++] = fd;
            return;
        }

        IsTooMany = true;
        _ = Libc.Close(fd);
    }

    /// <summary>The descriptor at an index, the receiver's from now on.</summary>
    public Descriptor Take(int index)
    {
        var taken = new Descriptor(fds[index]);
        fds[index] = -1;
        return taken;
    }

    public void Clear()
    {
        foreach (var fd in fds.AsSpan(0, Count))
        {
            if (fd >= 0)
                _ = Libc.Close(fd);
        }

        (Count, IsTooMany) = (0, false);
    }
}
