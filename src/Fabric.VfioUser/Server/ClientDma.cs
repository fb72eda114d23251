using System.Buffers;
using System.Net.Sockets;
using Akka.Actor.Internal;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>
/// The way to memory that a client mapped without a descriptor: DMA_READ and DMA_WRITE. One message is on its way at a time, in the order in which
/// the device asked, and none while a request of the client is unanswered: QEMU waits for that answer with the lock that it serves DMA under, and
/// the connection would be lost (facts §6). Writes are posted, as on PCI; interrupts queue up behind the writes that were made before them. A
/// client that does not answer in time is not served any longer.
/// </summary>
internal sealed class ClientDma(MessageConnection connection, uint mostBytes, ServerOptions options) : IDisposable
{
    /// <summary>Posted and not yet taken by the client.</summary>
    private const int MostPosted = 8 << 20;

    /// <summary>What a work in the queue costs beside its data.</summary>
    private const int WorkBytes = 128;

    private readonly Lock gate = new();
    private readonly Queue<DmaWork> works = [];
    private readonly SemaphoreSlim due = new(0, 1);
    private readonly byte[] small = new byte[4096];
    private int posted;
    private int unanswered;
    private bool isBusy;
    private bool hasEnded;
    private Exchange? exchange;
    private ushort lastId;

    /// <summary>A request that wants an answer came in; nothing is sent until <see cref="Answered"/>.</summary>
    public void Received()
    {
        lock (gate)
            unanswered++;
    }

    /// <summary>A request was answered.</summary>
    public void Answered()
    {
        lock (gate)
        {
            unanswered--;
            Wake();
        }
    }

    /// <summary>Posts a write. False where the client takes its DMA too slowly, or is gone.</summary>
    public bool TryWrite(ClientMemory memory, ulong iova, ReadOnlySpan<byte> source)
    {
        lock (gate)
        {
            if (hasEnded || (long)posted + source.Length + WorkBytes > MostPosted)
                return false;
            while (!source.IsEmpty)
            {
                var part = source[..(int)Math.Min((uint)source.Length, mostBytes)];
                Post(new DmaWork.Write(memory, iova, part.ToArray()));
                source = source[part.Length..];
                iova += (uint)part.Length;
            }

            Wake();
            return true;
        }
    }

    /// <summary>
    /// Reads, and waits for the client: on the hardware's own thread, for the deadline at most. An actor never waits, so what asks from within a
    /// request gets false at once; so does who asks when the client is gone.
    /// </summary>
    public bool TryRead(ClientMemory memory, ulong iova, Span<byte> destination)
    {
        if (InternalCurrentActorCellKeeper.Current is not null)
            return false;
        var began = options.Time.GetTimestamp();
        while (!destination.IsEmpty)
        {
            var part = destination[..(int)Math.Min((uint)destination.Length, mostBytes)];
            using var read = new DmaWork.Read(memory, iova, new byte[part.Length]);
            lock (gate)
            {
                if (hasEnded || posted + part.Length + WorkBytes > MostPosted)
                    return false;
                Post(read);
                Wake();
            }

            var left = options.DmaDeadline - options.Time.GetElapsedTime(began);
            if (!read.Done.Wait(left > TimeSpan.Zero ? left : TimeSpan.Zero) || !read.Succeeded)
            {
                read.Abandon();
                return false;
            }

            read.Data.CopyTo(part);
            destination = destination[part.Length..];
            iova += (uint)part.Length;
        }

        return true;
    }

    /// <summary>Signals at once, or where writes are on their way, after them.</summary>
    public void Signal(IEventTarget target)
    {
        lock (gate)
        {
            if ((isBusy || works.Count > 0) && !hasEnded && posted + WorkBytes <= MostPosted)
            {
                Post(new DmaWork.Signal(target));
                return;
            }
        }

        target.Signal();
    }

    /// <summary>A reply of the client. One that nobody asked for, or that comes too late, means nothing.</summary>
    public void Accept(Message reply)
    {
        lock (gate)
        {
            if (exchange is { } open && open.Request.Id == reply.Header.Id && open.Request.Command == reply.Header.Command)
            {
                exchange = null;
                open.Finish(reply);
            }
        }
    }

    /// <summary>Sends what is due until the connection ends.</summary>
    public async Task RunAsync()
    {
        try
        {
            while (true)
            {
                await due.WaitAsync(connection.Ending).ConfigureAwait(false);
                while (Next() is { } work)
                    await PerformAsync(work).ConfigureAwait(false);
            }
        }
        catch (Exception over) when (over is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            connection.End();
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            hasEnded = true;
            foreach (var work in works)
                (work as DmaWork.Read)?.Finish(false);
            works.Clear();
        }
    }

    private void Post(DmaWork work)
    {
        works.Enqueue(work);
        posted += work.Bytes + WorkBytes;
    }

    private void Wake()
    {
        if (unanswered == 0 && works.Count > 0 && due.CurrentCount == 0)
            due.Release();
    }

    private DmaWork? Next()
    {
        lock (gate)
        {
            isBusy = unanswered == 0 && works.Count > 0;
            if (!isBusy)
                return null;
            var work = works.Dequeue();
            posted -= work.Bytes + WorkBytes;
            return work;
        }
    }

    private async Task PerformAsync(DmaWork work)
    {
        switch (work)
        {
            case DmaWork.Signal signal:
                signal.Target.Signal();
                break;
            case DmaWork.Write { Memory.HasEnded: false } write:
                // An error of the client's is what an IOMMU's fault is: the write is lost, and the device goes on.
                await ExchangeAsync(Command.DmaWrite, write.Iova, write.Data, write.Data, read: null).ConfigureAwait(false);
                break;
            case DmaWork.Read { Memory.HasEnded: false } read:
                read.Finish(await ExchangeAsync(Command.DmaRead, read.Iova, read.Data, default, read).ConfigureAwait(false));
                break;
            case DmaWork.Read read:
                read.Finish(false);
                break;
            case DmaWork.Write:
                break;
            default:
                throw new InvalidOperationException($"{work.GetType().Name} is no work of this queue.");
        }
    }

    private async Task<bool> ExchangeAsync(Command command, ulong iova, byte[] counted, ReadOnlyMemory<byte> data, DmaWork.Read? read)
    {
        var payload = DmaAccessPayload.WireSize + data.Length;
        var header = MessageHeader.Request(++lastId, command, payload);
        var opened = new Exchange(header, new DmaAccessPayload(iova, (ulong)counted.Length), read?.Data);
        lock (gate)
            exchange = opened;
        var length = MessageHeader.Bytes + payload;
        var lent = length > small.Length ? ArrayPool<byte>.Shared.Rent(length) : null;
        var message = (lent ?? small).AsMemory(0, length);
        header.Encode(message.Span);
        opened.Asked.Encode(message.Span[MessageHeader.Bytes..]);
        data.CopyTo(message[(MessageHeader.Bytes + DmaAccessPayload.WireSize)..]);
        await connection.SendAsync(message).ConfigureAwait(false);
        if (lent is not null)
            ArrayPool<byte>.Shared.Return(lent);
        try
        {
            return await opened.Outcome.WaitAsync(options.DmaDeadline, options.Time, connection.Ending).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            connection.End();
            return false;
        }
    }

    /// <summary>One message to the client that is not answered yet.</summary>
    private sealed class Exchange(MessageHeader request, DmaAccessPayload asked, byte[]? room)
    {
        private readonly TaskCompletionSource<bool> outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public MessageHeader Request => request;

        public DmaAccessPayload Asked => asked;

        public Task<bool> Outcome => outcome.Task;

        /// <summary>A success repeats what was asked, and brings as many bytes.</summary>
        public void Finish(Message reply)
        {
            var isGood = (reply.Header.Flags & MessageFlags.Error) == 0 && reply.Begins<DmaAccessPayload>(out var told) && told == asked;
            if (isGood && room is not null)
            {
                var data = reply.After<DmaAccessPayload>();
                isGood = data.Length == room.Length;
                if (isGood)
                    data.CopyTo(room);
            }

            outcome.TrySetResult(isGood);
        }
    }
}

/// <summary>What a device wants of its client, in its order.</summary>
internal abstract record DmaWork
{
    private DmaWork()
    {
    }

    /// <summary>Of data.</summary>
    public virtual int Bytes => 0;

    public sealed record Write(ClientMemory Memory, ulong Iova, byte[] Data) : DmaWork
    {
        public override int Bytes => Data.Length;
    }

    /// <summary>Somebody waits for it, and lets go of it when he waits no longer.</summary>
    public sealed record Read(ClientMemory Memory, ulong Iova, byte[] Data) : DmaWork, IDisposable
    {
        private readonly Lock gate = new();
        private bool isAbandoned;

        public ManualResetEventSlim Done { get; } = new();

        public bool Succeeded { get; private set; }

        public override int Bytes => Data.Length;

        public void Finish(bool succeeded)
        {
            lock (gate)
            {
                if (isAbandoned)
                    return;
                Succeeded = succeeded;
                Done.Set();
            }
        }

        public void Abandon()
        {
            lock (gate)
                isAbandoned = true;
        }

        public void Dispose()
        {
            Abandon();
            Done.Dispose();
        }
    }

    public sealed record Signal(IEventTarget Target) : DmaWork;
}
