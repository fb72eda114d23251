using System.Buffers;
using System.Runtime.InteropServices;
using Fabric.Devices.Hardware;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>
/// The memory that a served device reaches: its holder's mappings are told to the server, by descriptor where the memory has one, and what the server
/// asks for by DMA_READ and DMA_WRITE is answered from the rest. An answer may have to wait for memory of yet another process, so a thread of its
/// own gives it, which is there while anything is asked.
/// </summary>
internal sealed class RemoteDma(ServerConnection server, LaneThreads threads) : IDmaObserver, IServerCommands
{
    /// <summary>Asked and not answered: a server that keeps to the protocol waits for some of them.</summary>
    private const int MostAsked = 64;
    private const int MostBytes = 8 << 20;

    private readonly Lock gate = new();

    /// <summary>Held while memory is used: who takes it away waits.</summary>
    private readonly Lock reaching = new();
    private readonly Queue<Asked> asked = [];
    private IDmaSpace? space;
    private DirtyBitmap? written;
    private int bytes;
    private int mappings;
    private bool isAnswering;

    /// <summary>A message of the server. The data of a write are lent from the pool.</summary>
    private readonly record struct Asked(MessageHeader Header, DmaAccessPayload Access, byte[] Data)
    {
        public int Length => (int)Access.Count;
    }

    /// <summary>Puts the device's DMA behind a space, or (null) cuts it off: when it has returned, nothing of the one before is reached.</summary>
    public void Connect(IDmaSpace? next)
    {
        var before = Swap(null);
        if (before is not null)
        {
            before.Unobserve(this);
            if (mappings > 0)
                UnmapAll();
        }

        if (next is null)
            return;
        Swap(next);
        // A space that does not tell is reached by nothing: no server may ask for what is not mapped.
        if (next.Observe(this) is { IsOk: false } refused)
            server.End(refused.Error);
    }

    public VfioResult OnMapped(DmaMapping mapping)
    {
        var flags = (MapFlags)(mapping.Access & DmaAccess.ReadWrite);
        var file = mapping.Target as ClientFile;
        var request = new DmaMapPayload((uint)DmaMapPayload.WireSize, flags, file?.Start ?? 0, mapping.Iova, mapping.Length);
        var mapped = file is null || server.Server.MaxMessageFds < 1 ? Map(request, []) : MapFile(request, file);
        if (mapped.IsOk)
            mappings++;
        return mapped;
    }

    public void OnUnmapping(DmaMapping mapping)
    {
        Unmap(new DmaUnmapPayload((uint)DmaUnmapPayload.WireSize, UnmapFlags.None, mapping.Iova, mapping.Length));
        mappings--;
    }

    // ---- What the server asks --------------------------------------------------------------------------------------------------------

    public VfioResult Accept(MessageHeader header, ReadOnlySpan<byte> payload)
    {
        if (!MemoryMarshal.TryRead(payload, out DmaAccessPayload access) || access.Count > ServerConnection.MostData)
            return Broken.NoMessage;
        var data = payload[DmaAccessPayload.WireSize..];
        if (data.Length != (header.Command == Command.DmaWrite ? (int)access.Count : 0))
            return Broken.NoMessage;
        lock (gate)
        {
            if (asked.Count == MostAsked || bytes + (int)access.Count > MostBytes)
                return Broken.TooMuchDma;
            var kept = ArrayPool<byte>.Shared.Rent((int)access.Count);
            data.CopyTo(kept);
            asked.Enqueue(new Asked(header, access, kept));
            bytes += (int)access.Count;
            if (isAnswering)
                return VfioResult.Ok;
            isAnswering = true;
        }

        threads.Run(AnswerAll);
        return VfioResult.Ok;
    }

    // ---- The log of what came by messages --------------------------------------------------------------------------------------------

    /// <summary>
    /// From now on what DMA_WRITE writes is noted; null ends that. A server logs what it writes by itself, and leaves its messages to the client
    /// (facts §8), or it logs them when it sends them, and they arrive later.
    /// </summary>
    public void Log(DirtyBitmap? bitmap)
    {
        lock (gate)
            written = bitmap;
    }

    /// <summary>Marks what was written by messages within a range since this was last asked.</summary>
    public void ReadAndClear(IovaRange range, IDirtyPages dirty)
    {
        lock (gate)
        {
            if (written is null)
                return;
            for (var run = written.NextRun(range.First); run is { } found && found.Iova <= range.Last; run = written.NextRun(range.First))
            {
                var last = Math.Min(found.Iova + (found.Length - 1), range.Last);
                dirty.Mark(found.Iova, last - found.Iova + 1);
                written.Clear(found.Iova, last - found.Iova + 1);
            }
        }
    }

    private void AnswerAll()
    {
        while (true)
        {
            Asked next;
            lock (gate)
            {
                if (!asked.TryDequeue(out next))
                {
                    isAnswering = false;
                    return;
                }
            }

            Answer(next);
            ArrayPool<byte>.Shared.Return(next.Data);
            lock (gate)
                bytes -= next.Length;
        }
    }

    private void Answer(Asked request)
    {
        var isRead = request.Header.Command == Command.DmaRead;
        var data = request.Data.AsSpan(0, request.Length);
        bool reached;
        lock (reaching)
            reached = space is { } memory && (isRead ? memory.TryRead(request.Access.Iova, data) : memory.TryWrite(request.Access.Iova, data));
        // After it is written: noted before that, it could be read and cleared in between.
        if (reached && !isRead && data.Length > 0)
        {
            lock (gate)
                written?.Mark(request.Access.Iova, (ulong)data.Length);
        }

        if (!request.Header.WantsReply)
            return;
        if (!reached)
        {
            server.Answer(request.Header.Refusal(Errno.EFAULT), [], []);
            return;
        }

        var access = request.Access;
        var told = isRead ? data : [];
        var head = request.Header.Answer(DmaAccessPayload.WireSize + told.Length);
        server.Answer(head, MemoryMarshal.AsBytes(new ReadOnlySpan<DmaAccessPayload>(in access)), told);
    }

    // ---- What the server is told -----------------------------------------------------------------------------------------------------

    private IDmaSpace? Swap(IDmaSpace? next)
    {
        lock (reaching)
        {
            var before = space;
            space = next;
            return before;
        }
    }

    private VfioResult MapFile(DmaMapPayload request, ClientFile file)
    {
        var held = false;
        try
        {
            file.File.DangerousAddRef(ref held);
            return Map(request, [file.File.Number]);
        }
        finally
        {
            if (held)
                file.File.DangerousRelease();
        }
    }

    private VfioResult Map(DmaMapPayload request, ReadOnlySpan<int> fds) =>
        server.Call(Command.DmaMap, MemoryMarshal.AsBytes(new ReadOnlySpan<DmaMapPayload>(in request)), [], fds, [], []).Error;

    private void UnmapAll()
    {
        Unmap(new DmaUnmapPayload((uint)DmaUnmapPayload.WireSize, UnmapFlags.All, 0, 0));
        mappings = 0;
    }

    /// <summary>A server that does not let go of memory is not spoken to any more: what it has mapped goes with it.</summary>
    private void Unmap(DmaUnmapPayload request)
    {
        var told = default(DmaUnmapPayload);
        var unmapped = server.Call(
            Command.DmaUnmap, MemoryMarshal.AsBytes(new ReadOnlySpan<DmaUnmapPayload>(in request)), [], [],
            MemoryMarshal.AsBytes(new Span<DmaUnmapPayload>(ref told)), []);
        if (!unmapped.IsOk)
            server.End(unmapped.Error);
    }
}
