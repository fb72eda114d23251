using System.Net.Sockets;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>
/// One client's socket as messages. The stream keeps no boundaries (facts: a large send arrives in pieces), so exactly the head is read, with the
/// descriptors that came with it, and then exactly the rest. One reader; any number of senders, one at a time.
/// </summary>
internal sealed class MessageConnection : IDisposable
{
    private const short HungUp = 0x10;

    /// <summary>Of the socket's buffer: what the kernel gives of it, so that a large answer fits whole.</summary>
    private const int SendBytes = 1 << 20;

    /// <summary>How long a thread that is nobody else's waits for a client that is reading a large answer.</summary>
    private const int ReadingMs = 2;

    private readonly Socket socket;
    private readonly SafeSocketHandle handle;
    private readonly ServerOptions options;
    private readonly CancellationTokenSource ending;
    private readonly CancellationTokenSource readingLate;
    private readonly CancellationTokenSource sendingLate;
    private readonly SemaphoreSlim sending = new(1, 1);
    private bool isExpecting;
    private readonly byte[] head = new byte[MessageHeader.Bytes];

    public MessageConnection(Socket socket, ServerOptions options, CancellationToken shutdown)
    {
        (this.socket, this.options) = (socket, options);
        readingLate = new CancellationTokenSource(Timeout.InfiniteTimeSpan, options.Time);
        sendingLate = new CancellationTokenSource(Timeout.InfiniteTimeSpan, options.Time);
        ending = CancellationTokenSource.CreateLinkedTokenSource(shutdown, readingLate.Token, sendingLate.Token);
        (handle, Ending) = (socket.SafeHandle, ending.Token);
        Ending.Register(Shut);
        socket.SendBufferSize = SendBytes;
    }

    /// <summary>Cancelled when the connection is to end, whoever wants that.</summary>
    public CancellationToken Ending { get; }

    /// <summary>The other end is closed; what it sent before may still be unread.</summary>
    public unsafe bool IsHungUp
    {
        get
        {
            if (Ending.IsCancellationRequested)
                return true;
            var held = false;
            try
            {
                handle.DangerousAddRef(ref held);
                var entry = new Libc.PollEntry { Fd = (int)handle.DangerousGetHandle() };
                return Libc.Poll(&entry, 1, 0) == 1 && (entry.Returned & HungUp) != 0;
            }
            catch (ObjectDisposedException)
            {
                return true;
            }
            finally
            {
                if (held)
                    handle.DangerousRelease();
            }
        }
    }

    public void End() => ending.Cancel();

    /// <summary>From now on a first byte is to come within a time, or (null) whenever it comes.</summary>
    public void Expect(TimeSpan? within)
    {
        isExpecting = within is not null;
        readingLate.CancelAfter(within ?? Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// The next message, for which the calling thread waits. False at the end of the stream, wherever in a message it ends, and when the
    /// connection is to end. A message that cannot be read, because it claims to be shorter than its head or longer than may be, has a
    /// <see cref="Message.Fault"/>: nothing after it can be understood.
    /// </summary>
    /// <param name="mostPayload">Bytes.</param>
    /// <exception cref="SocketException">The connection is broken.</exception>
    public bool Read(Message message, int mostPayload)
    {
        for (var got = 0; got < head.Length;)
        {
            var received = DescriptorMessages.Receive(handle, head.AsSpan(got), message.Descriptors, waits: true);
            if (received == 0)
                return false;
            got += received;
            if (got < head.Length)
                Expect(options.MessageDeadline);
        }

        MessageHeader.TryRead(head, out var header);
        message.Header = header;
        if (header.Size < MessageHeader.Bytes)
        {
            message.Fault = new VfioError(Errno.EINVAL, "The message is shorter than its own head.");
            return true;
        }

        if (header.Size - MessageHeader.Bytes > (uint)mostPayload)
        {
            message.Fault = new VfioError(Errno.EMSGSIZE, "The message is longer than VERSION lets it be; split it.");
            return true;
        }

        return TryFill(message.Room((int)header.Size - MessageHeader.Bytes).Span);
    }

    /// <summary>Sends a whole message, descriptors with its first byte. What cannot be sent within its deadline ends the connection.</summary>
    /// <exception cref="OperationCanceledException">The connection is to end, or the deadline passed.</exception>
    /// <exception cref="SocketException">The connection is broken.</exception>
    public async ValueTask SendAsync(ReadOnlyMemory<byte> message)
    {
        await sending.WaitAsync(Ending).ConfigureAwait(false);
        try
        {
            var sent = SendNow(message.Span);
            if (sent == message.Length)
                return;
            sendingLate.CancelAfter(options.SendDeadline);
            while (sent < message.Length)
                sent += await socket.SendAsync(message[sent..], SocketFlags.None, Ending).ConfigureAwait(false);
            sendingLate.CancelAfter(Timeout.InfiniteTimeSpan);
        }
        finally
        {
            sending.Release();
        }
    }

    /// <summary>
    /// What goes without being woken up for it. A thread of the pool waits for nobody; one that is the client's own waits a moment, for as long as
    /// the client goes on reading, and no longer: the client may itself be waiting for us to read.
    /// </summary>
    private int SendNow(ReadOnlySpan<byte> message)
    {
        var sent = Math.Max(0, DescriptorMessages.Send(handle, message, []));
        while (sent < message.Length && !Thread.CurrentThread.IsThreadPoolThread)
        {
            if (!DescriptorMessages.TakesMore(handle, ReadingMs))
                break;
            sent += Math.Max(0, DescriptorMessages.Send(handle, message[sent..], []));
        }

        return sent;
    }

    public void Dispose()
    {
        ending.Cancel();
        socket.Dispose();
        ending.Dispose();
        readingLate.Dispose();
        sendingLate.Dispose();
        sending.Dispose();
    }

    /// <summary>Descriptors belong with the head (facts §1): what comes with the body is not asked for, and the kernel closes it.</summary>
    private bool TryFill(Span<byte> room)
    {
        while (!room.IsEmpty)
        {
            var received = DescriptorMessages.Receive(handle, room, waits: false);
            if (received < 0)
            {
                Expect(options.MessageDeadline);
                received = DescriptorMessages.Receive(handle, room, waits: true);
            }

            if (received == 0)
                return false;
            room = room[received..];
        }

        if (isExpecting)
            Expect(null);
        return true;
    }

    /// <summary>Whoever waits for the client on a thread of his own is at the end of the stream then.</summary>
    private void Shut()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Receive);
        }
        catch (Exception over) when (over is SocketException or ObjectDisposedException)
        {
            // The client has ended it already.
        }
    }
}
