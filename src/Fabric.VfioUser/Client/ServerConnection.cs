using System.Buffers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Devices.Hardware;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>Takes what a server asks of its client.</summary>
internal interface IServerCommands
{
    /// <summary>Called by the thread that receives, which must not wait. Errors end the connection.</summary>
    /// <param name="payload">The receiver's until this has returned.</param>
    VfioResult Accept(MessageHeader header, ReadOnlySpan<byte> payload);
}

/// <summary>
/// One connection to a server: requests of any thread, each with its answer and its deadline. A thread of its own receives: who waits for an answer
/// may hold up a mailbox, and must not wait for a free thread of the pool as well. A server that is silent, closes, or does not keep to the
/// protocol is not spoken to any more: what it would say next cannot be believed.
/// </summary>
internal sealed class ServerConnection : IDisposable
{
    /// <summary>The longest message of a server: DMA of as many bytes as VERSION says that the client takes.</summary>
    private static readonly int MostCommand = DmaAccessPayload.WireSize + MostData;

    private readonly Socket socket;
    private readonly SafeSocketHandle handle;
    private readonly ClientOptions options;
    private readonly Lock gate = new();
    private readonly Lock sending = new();
    private readonly Dictionary<ushort, Exchange> open = [];
    private readonly Stack<Exchange> spare = [];
    private readonly ReceivedDescriptors descriptors = new();
    private readonly byte[] head = new byte[MessageHeader.Bytes];
    private byte[] outgoing = new byte[4096];
    private IServerCommands? commands;
    private Action<VfioError>? whenEnded;
    private VfioError over;
    private bool hasLeft;
    private ushort lastId;

    private ServerConnection(Socket socket, ClientOptions options) => (this.socket, handle, this.options) = (socket, socket.SafeHandle, options);

    /// <summary>Bytes of data that one message carries at most.</summary>
    public const int MostData = Devices.DeviceLimits.MaxTransfer;

    /// <summary>What the server takes.</summary>
    public PeerCapabilities Server { get; private set; } = PeerCapabilities.Default;

    public ClientOptions Options => options;

    /// <summary>The server is not spoken to any more: what is asked fails with why.</summary>
    public bool IsOver
    {
        get
        {
            lock (gate)
                return over.Errno != Errno.None;
        }
    }

    /// <summary>
    /// Connects and agrees on a version. Errors: ENODEV where nobody listens, EBUSY, EACCES; EOPNOTSUPP for another version; what the server refuses
    /// with; EIO, ETIMEDOUT.
    /// </summary>
    public static VfioResult<ServerConnection> Connect(string path, ClientOptions options, LaneThreads threads)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            // Without blocking a UNIX socket is connected at once, or its server has more clients than it takes.
            socket.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException failed)
        {
            socket.Dispose();
            return failed.SocketErrorCode switch
            {
                SocketError.AccessDenied => new VfioError(Errno.EACCES, "The socket of the vfio-user server may not be used; run both as one user."),
                SocketError.WouldBlock or SocketError.InProgress => new VfioError(Errno.EBUSY, "The vfio-user server takes no more connections now."),
                _ => new VfioError(Errno.ENODEV, "No vfio-user server listens on the socket; start it."),
            };
        }

        var connection = new ServerConnection(socket, options);
        threads.Run(connection.Receive);
        var agreed = connection.Agree();
        if (agreed.IsOk)
            return connection;
        connection.Dispose();
        return agreed.Error;
    }

    /// <summary>Who takes what the server asks for; nobody does before.</summary>
    public void ServeWith(IServerCommands served) => Volatile.Write(ref commands, served);

    /// <summary>Calls once when the connection is over, at once where it is; from the thread that received.</summary>
    public void WhenEnded(Action<VfioError> then)
    {
        lock (gate)
        {
            if (!hasLeft)
            {
                whenEnded = then;
                return;
            }
        }

        then(over);
    }

    /// <summary>A request with an answer of one structure. Errors: the server's; EIO, ETIMEDOUT where there is no server any more.</summary>
    public VfioResult<TReply> Ask<TRequest, TReply>(Command command, TRequest request, TimeSpan? within = null)
        where TRequest : unmanaged, IUapiStruct<TRequest>
        where TReply : unmanaged, IUapiStruct<TReply>
    {
        var reply = default(TReply);
        var room = MemoryMarshal.AsBytes(new Span<TReply>(ref reply));
        var asked = Call(command, MemoryMarshal.AsBytes(new ReadOnlySpan<TRequest>(in request)), [], [], room, [], within);
        if (!asked.IsOk)
            return asked.Error;
        return asked.Value >= Unsafe.SizeOf<TReply>() ? reply : Disbelieve();
    }

    /// <summary>
    /// A request and its answer; returns how many bytes came. Errors: the server's; EIO, ETIMEDOUT where there is no server any more.
    /// </summary>
    /// <param name="data">Comes after the request.</param>
    /// <param name="fds">Go with the request; the caller keeps them open meanwhile.</param>
    /// <param name="reply">Filled first; an answer may be shorter.</param>
    /// <param name="rest">Filled with what comes after it.</param>
    public VfioResult<int> Call(
        Command command, ReadOnlySpan<byte> request, ReadOnlySpan<byte> data, ReadOnlySpan<int> fds, Span<byte> reply, Span<byte> rest,
        TimeSpan? within = null)
    {
        var deadline = Deadline(within ?? options.RequestDeadline);
        // Some servers repeat the request after an error (facts §2): there is room for that.
        var exchange = Begin(command, Math.Max(reply.Length + rest.Length, Math.Min(request.Length + data.Length, 64)));
        if (exchange is null)
            return over;
        var header = MessageHeader.Request(exchange.Id, command, request.Length + data.Length);
        if (!TrySend(header, request, data, fds, deadline) || !exchange.Await(deadline))
        {
            // The receiver may be filling it still: it is nobody's any more.
            End(Broken.Silent);
            return over;
        }

        var (error, length) = (exchange.Error, exchange.Length);
        if (error.Errno == Errno.None)
        {
            var answer = exchange.Room.AsSpan(0, Math.Min(length, reply.Length + rest.Length));
            var first = Math.Min(answer.Length, reply.Length);
            answer[..first].CopyTo(reply);
            answer[first..].CopyTo(rest);
        }

        Return(exchange);
        return error.Errno == Errno.None ? length : error;
    }

    /// <summary>Answers what the server asked. A server that does not take it in time is not spoken to any more.</summary>
    public void Answer(MessageHeader header, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> data) =>
        TrySend(header, payload, data, [], Deadline(options.RequestDeadline));

    /// <summary>Ends the connection, for a reason that everything that is asked then fails with.</summary>
    public void End(VfioError why)
    {
        Exchange[] waiting;
        lock (gate)
        {
            if (over.Errno != Errno.None)
                return;
            over = why;
            waiting = [.. open.Values];
            open.Clear();
        }

        try
        {
            // The receiver sees the end of the stream, and closes the socket.
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // The server has closed it already.
        }
        catch (ObjectDisposedException)
        {
            // The receiver has.
        }

        foreach (var exchange in waiting)
            exchange.Fail(why);
    }

    /// <summary>Ends the connection of a server whose answer is not that of the request; what that fails with.</summary>
    public VfioError Disbelieve()
    {
        End(Broken.WrongAnswer);
        return Broken.WrongAnswer;
    }

    public void Dispose() => End(Broken.LetGo);

    private VfioResult Agree()
    {
        var json = new ArrayBufferWriter<byte>(256);
        (PeerCapabilities.Default with { MaxTransfer = MostData }).Write(json);
        var proposed = new VersionPayload(0, 0);
        var version = default(VersionPayload);
        var text = new byte[PeerCapabilities.MaxJsonBytes];
        var answered = Call(
            Command.Version, MemoryMarshal.AsBytes(new ReadOnlySpan<VersionPayload>(in proposed)), json.WrittenSpan, [],
            MemoryMarshal.AsBytes(new Span<VersionPayload>(ref version)), text);
        if (!answered.IsOk)
            return answered.Error;
        if (answered.Value < VersionPayload.WireSize)
            return Disbelieve();
        if (version != proposed)
            return VfioResult.Fail(Errno.EOPNOTSUPP, "The vfio-user server speaks another version than 0.0; use one that speaks that.");
        var capabilities = PeerCapabilities.Read(text.AsSpan(0, answered.Value - VersionPayload.WireSize));
        if (!capabilities.IsOk)
            return capabilities.Error;
        Server = capabilities.Value;
        return VfioResult.Ok;
    }

    // ---- Requests --------------------------------------------------------------------------------------------------------------------

    /// <summary>Null when the connection is over.</summary>
    private Exchange? Begin(Command command, int most)
    {
        lock (gate)
        {
            if (over.Errno != Errno.None)
                return null;
            do
                lastId++;
            while (open.ContainsKey(lastId));
            var exchange = spare.TryPop(out var kept) ? kept : new Exchange();
            exchange.Begin(lastId, command, most);
            return open[lastId] = exchange;
        }
    }

    private void Return(Exchange exchange)
    {
        exchange.Release();
        lock (gate)
            spare.Push(exchange);
    }

    /// <summary>False where it cannot be sent in time, or the connection is over.</summary>
    private bool TrySend(MessageHeader header, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> data, ReadOnlySpan<int> fds, long deadline)
    {
        if (!sending.TryEnter(Left(deadline)))
        {
            End(Broken.Slow);
            return false;
        }

        try
        {
            var length = MessageHeader.Bytes + payload.Length + data.Length;
            if (length > outgoing.Length)
                outgoing = new byte[length];
            header.Encode(outgoing);
            payload.CopyTo(outgoing.AsSpan(MessageHeader.Bytes));
            data.CopyTo(outgoing.AsSpan(MessageHeader.Bytes + payload.Length));
            return TrySend(outgoing.AsSpan(0, length), fds, deadline);
        }
        finally
        {
            sending.Exit();
        }
    }

    private bool TrySend(ReadOnlySpan<byte> message, ReadOnlySpan<int> fds, long deadline)
    {
        try
        {
            while (!message.IsEmpty)
            {
                var sent = DescriptorMessages.Send(handle, message, fds);
                if (sent > 0)
                {
                    message = message[sent..];
                    fds = [];
                }
                else if (!IsReady(Libc.PollOut, deadline))
                {
                    break;
                }
            }

            if (message.IsEmpty)
                return true;
            End(Broken.Slow);
        }
        catch (SocketException)
        {
            End(Broken.Closed);
        }
        catch (ObjectDisposedException)
        {
            End(Broken.Closed);
        }

        return false;
    }

    // ---- Receiving -------------------------------------------------------------------------------------------------------------------

    /// <summary>Until the stream ends or makes no sense any more.</summary>
    private void Receive()
    {
        VfioError why;
        try
        {
            do
                why = ReceiveOne();
            while (why.Errno == Errno.None);
        }
        catch (SocketException)
        {
            why = Broken.Closed;
        }

        descriptors.Clear();
        End(why);
        socket.Dispose();
        Action<VfioError>? then;
        lock (gate)
            (then, hasLeft) = (whenEnded, true);
        then?.Invoke(over);
    }

    /// <summary>Why there is no next one; None where there was.</summary>
    private VfioError ReceiveOne()
    {
        if (Fill(head.AsSpan(0, 1), long.MaxValue) is { Errno: not Errno.None } ended)
            return ended;
        var deadline = Deadline(options.MessageDeadline);
        if (Fill(head.AsSpan(1), deadline) is { Errno: not Errno.None } late)
            return late;
        MessageHeader.TryRead(head, out var header);
        if (header.Size < MessageHeader.Bytes || !(header.IsReply || header.IsCommand))
            return Broken.NoMessage;
        var length = header.Size - MessageHeader.Bytes;
        var why = header.IsReply ? TakeReply(header, length, deadline) : TakeCommand(header, length, deadline);
        descriptors.Clear();
        return why;
    }

    private VfioError TakeReply(MessageHeader header, uint length, long deadline)
    {
        Exchange? exchange;
        lock (gate)
        {
            if (!open.TryGetValue(header.Id, out exchange) || exchange.Command != header.Command || length > exchange.Most)
                return Broken.Unasked;
            open.Remove(header.Id);
        }

        var filled = Fill(exchange.Room.AsSpan(0, (int)length), deadline);
        if (filled.Errno != Errno.None)
        {
            // Whoever waits is told why, be it this or what ended the connection meanwhile.
            End(filled);
            exchange.Fail(over);
            return filled;
        }

        // No answer of a server has descriptors that are of use here; whoever waited finds none of them open.
        descriptors.Clear();
        if ((header.Flags & MessageFlags.Error) != 0)
            exchange.Fail(Broken.Refusal(header));
        else
            exchange.Complete((int)length);
        return default;
    }

    private VfioError TakeCommand(MessageHeader header, uint length, long deadline)
    {
        if (length > MostCommand || header.Command is not (Command.DmaRead or Command.DmaWrite) || Volatile.Read(ref commands) is not { } served)
            return Broken.NoMessage;
        var payload = ArrayPool<byte>.Shared.Rent((int)length);
        try
        {
            var filled = Fill(payload.AsSpan(0, (int)length), deadline);
            return filled.Errno != Errno.None ? filled : served.Accept(header, payload.AsSpan(0, (int)length)).Error;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(payload);
        }
    }

    private VfioError Fill(Span<byte> room, long deadline)
    {
        while (!room.IsEmpty)
        {
            var received = DescriptorMessages.Receive(handle, room, descriptors, waits: false);
            if (received == 0)
                return Broken.Closed;
            if (received > 0)
                room = room[received..];
            else if (!IsReady(Libc.PollIn, deadline))
                return Broken.Slow;
        }

        return default;
    }

    private bool IsReady(short events, long deadline)
    {
        int ready;
        do
            ready = DescriptorMessages.Poll(handle, events, deadline == long.MaxValue ? Libc.PollForever : (int)Left(deadline).TotalMilliseconds);
        while (ready < 0 && Marshal.GetLastPInvokeError() == Libc.EINTR);
        return ready > 0;
    }

    private static long Deadline(TimeSpan within) => Environment.TickCount64 + (long)within.TotalMilliseconds;

    private static TimeSpan Left(long deadline) => TimeSpan.FromMilliseconds(Math.Clamp(deadline - Environment.TickCount64, 0, int.MaxValue));

    /// <summary>A request that is not answered yet. Taken from the table by who answers it.</summary>
    private sealed class Exchange
    {
        private const int Kept = 4096;

        private readonly object turn = new();
        private readonly byte[] own = new byte[Kept];
        private byte[]? lent;

        public ushort Id { get; private set; }

        public Command Command { get; private set; }

        /// <summary>Bytes that the answer may have.</summary>
        public int Most { get; private set; }

        public int Length { get; private set; }

        public VfioError Error { get; private set; }

        public bool IsDone { get; private set; }

        public byte[] Room => lent ?? own;

        public void Begin(ushort id, Command command, int most)
        {
            (Id, Command, Most, Length, Error, IsDone) = (id, command, most, 0, default, false);
            lent = most > Kept ? ArrayPool<byte>.Shared.Rent(most) : null;
        }

        public void Release()
        {
            if (lent is not null)
                ArrayPool<byte>.Shared.Return(lent);
            lent = null;
        }

        public void Complete(int length) => Finish(length, default);

        public void Fail(VfioError error) => Finish(0, error);

        /// <summary>False where it is not done by then.</summary>
        public bool Await(long deadline)
        {
            lock (turn)
            {
                while (!IsDone)
                {
                    var left = Left(deadline);
                    if (left == TimeSpan.Zero || !Monitor.Wait(turn, left))
                        return IsDone;
                }

                return true;
            }
        }

        private void Finish(int length, VfioError error)
        {
            lock (turn)
            {
                (Length, Error, IsDone) = (length, error, true);
                Monitor.PulseAll(turn);
            }
        }
    }
}
