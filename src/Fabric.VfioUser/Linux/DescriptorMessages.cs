using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fabric.Linux;

namespace Fabric.VfioUser.Linux;

/// <summary>
/// Bytes, with descriptors (SCM_RIGHTS) or without, over a UNIX socket. What receives may wait on the calling thread, what sends does not.
/// </summary>
internal static unsafe class DescriptorMessages
{
    private const int HeadBytes = 16;

    /// <summary>
    /// Bytes received, 0 at the end of the stream; -1 where there is nothing yet and it is not to wait. Descriptors that came with them are added.
    /// </summary>
    /// <exception cref="SocketException">The connection is broken.</exception>
    public static int Receive(SafeHandle socket, Span<byte> destination, ReceivedDescriptors descriptors, bool waits)
    {
        // Room for as many as may come: what is beyond the kernel closes, and says so.
        var control = stackalloc byte[HeadBytes + (ReceivedDescriptors.Max * sizeof(int))];
        fixed (byte* bytes = destination)
        {
            var vector = new Libc.IoVector { Base = bytes, Length = (nuint)destination.Length };
            while (true)
            {
                var message = new Libc.MessageHead
                {
                    Vectors = &vector,
                    VectorCount = 1,
                    Control = control,
                    ControlLength = HeadBytes + (ReceivedDescriptors.Max * sizeof(int)),
                };
                var received = Libc.ReceiveMessage(socket, &message, Libc.MessageCloseOnExec | (waits ? 0 : Libc.MessageDontWait));
                if (received >= 0)
                {
                    Collect(control, (int)message.ControlLength, descriptors);
                    descriptors.IsTooMany |= (message.Flags & Libc.MessageControlTruncated) != 0;
                    return (int)received;
                }

                if (WasInterrupted())
                    continue;
                if (!waits)
                    return -1;
                Await(socket);
            }
        }
    }

    /// <summary>Bytes received without any descriptors, 0 at the end of the stream; -1 where there is nothing yet and it is not to wait.</summary>
    /// <exception cref="SocketException">The connection is broken.</exception>
    public static int Receive(SafeHandle socket, Span<byte> destination, bool waits)
    {
        fixed (byte* bytes = destination)
        {
            while (true)
            {
                var received = Libc.Receive(socket, bytes, (nuint)destination.Length, waits ? 0 : Libc.MessageDontWait);
                if (received >= 0)
                    return (int)received;
                if (WasInterrupted())
                    continue;
                if (!waits)
                    return -1;
                Await(socket);
            }
        }
    }

    /// <summary>Bytes sent, all descriptors with the first of them; -1 where the socket takes nothing yet.</summary>
    /// <exception cref="SocketException">The connection is broken.</exception>
    public static int Send(SafeHandle socket, ReadOnlySpan<byte> source, ReadOnlySpan<int> fds)
    {
        var control = stackalloc byte[HeadBytes + (ReceivedDescriptors.Max * sizeof(int))];
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fds.Length, ReceivedDescriptors.Max);
        var length = HeadBytes + (fds.Length * sizeof(int));
        *(Libc.ControlHead*)control = new Libc.ControlHead { Length = (nuint)length, Level = Libc.SocketLevel, Type = Libc.Rights };
        fds.CopyTo(new Span<int>(control + HeadBytes, fds.Length));
        fixed (byte* bytes = source)
        {
            var vector = new Libc.IoVector { Base = bytes, Length = (nuint)source.Length };
            while (true)
            {
                var message = new Libc.MessageHead { Vectors = &vector, VectorCount = 1 };
                if (!fds.IsEmpty)
                {
                    message.Control = control;
                    message.ControlLength = (nuint)((length + 7) & ~7);
                }

                var sent = Libc.SendMessage(socket, &message, Libc.MessageDontWait | Libc.MessageNoSignal);
                if (sent >= 0)
                    return (int)sent;
                if (!WasInterrupted())
                    return -1;
            }
        }
    }

    /// <summary>Whether the socket takes more within a time, in milliseconds.</summary>
    public static bool TakesMore(SafeHandle socket, int timeoutMs) => Poll(socket, Libc.PollOut, timeoutMs) == 1;

    /// <summary>The runtime makes a socket non-blocking when it has once waited to send: then poll(2) waits in place of the call itself.</summary>
    private static void Await(SafeHandle socket) => Poll(socket, Libc.PollIn, Libc.PollForever);

    /// <summary>1 where the socket is ready, 0 where it is not within a time, in milliseconds; less for an error, such as EINTR.</summary>
    public static int Poll(SafeHandle socket, short events, int timeoutMs)
    {
        var held = false;
        try
        {
            socket.DangerousAddRef(ref held);
            var entry = new Libc.PollEntry { Fd = (int)socket.DangerousGetHandle(), Events = events };
            return Libc.Poll(&entry, 1, timeoutMs);
        }
        finally
        {
            if (held)
                socket.DangerousRelease();
        }
    }

    /// <summary>Why a call failed: it was interrupted, and is made again; else there is nothing to be done now.</summary>
    /// <exception cref="SocketException">The connection is broken.</exception>
    private static bool WasInterrupted() => Marshal.GetLastPInvokeError() switch
    {
        Libc.EINTR => true,
        Libc.EAGAIN => false,
        _ => throw new SocketException((int)SocketError.ConnectionReset),
    };

    private static void Collect(byte* control, int length, ReceivedDescriptors descriptors)
    {
        for (var at = 0; at + HeadBytes <= length;)
        {
            var head = (Libc.ControlHead*)(control + at);
            var end = (int)head->Length;
            if (end < HeadBytes || at + end > length)
                return;
            for (var fd = HeadBytes; head->Level == Libc.SocketLevel && head->Type == Libc.Rights && fd + sizeof(int) <= end; fd += sizeof(int))
                descriptors.Add(*(int*)(control + at + fd));
            at += (end + 7) & ~7;
        }
    }
}
