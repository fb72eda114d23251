using System.Buffers;

namespace Fabric.Vfio.Migration.Streams;

/// <summary>What hardware has put into a buffer.</summary>
/// <param name="Start">Where in the buffer the bytes for the stream start.</param>
/// <param name="Length">How many they are; 0 only in the last chunk of a run.</param>
/// <param name="IsLast">Nothing of this run follows.</param>
public readonly record struct SavedChunk(int Start, int Length, bool IsLast);

/// <summary>One state, or one set of changes, that hardware saves chunk by chunk.</summary>
public interface IChunkRun
{
    /// <summary>
    /// Starts to save the next chunk. The buffer is the hardware's until <paramref name="completed"/> is called: once, from any thread, maybe
    /// before this returns. Errors: at once, and then it is not called.
    /// </summary>
    VfioResult Save(Memory<byte> buffer, bool isFirst, Action<VfioResult<SavedChunk>> completed);
}

/// <summary>
/// A saving stream that hardware fills, chunk by chunk and by itself, while its holder reads: one chunk is in the making while those before it
/// are read (the queue of buffers of mlx5, VD-MLX-3). There are so many buffers and no more: nothing is made ahead of a free one. Chunks are
/// made one at a time, for only when one is complete it is known what follows. Hardware may tell of a chunk, or of the end of everything
/// (<see cref="Fail"/>), at any moment and from its own thread; all other calls are of one caller at a time.
/// </summary>
/// <param name="buffers">1 or more; with 2, saving and reading overlap.</param>
/// <param name="pool">Where buffers come from, and go to when they are nobody's any more; null for the shared one.</param>
public sealed class ChunkedSave(int buffers, ArrayPool<byte>? pool = null) : IMigrationData
{
    private readonly Lock gate = new();
    private readonly ArrayPool<byte> pool = pool ?? ArrayPool<byte>.Shared;
    private readonly Queue<Chunk> ready = new(buffers);
    private Run? current;
    private Run? queued;
    private bool isMaking;
    private bool isFinal;
    private bool isClosed;
    private int headRead;
    private VfioError standing;

    /// <summary>A run under way, or about to be.</summary>
    /// <param name="BufferBytes">Length of the buffers that it is given.</param>
    private sealed record Run(IChunkRun Source, int BufferBytes)
    {
        public bool IsBegun { get; set; }
    }

    private readonly record struct Chunk(byte[] Buffer, int Start, int Length);

    /// <summary>The error that every read gives; success where there is none.</summary>
    public VfioResult Standing
    {
        get
        {
            lock (gate)
                return standing;
        }
    }

    /// <summary>A run is under way: more will come.</summary>
    public bool IsSaving
    {
        get
        {
            lock (gate)
                return current is not null;
        }
    }

    /// <summary>No buffer is the hardware's now.</summary>
    public bool IsIdle
    {
        get
        {
            lock (gate)
                return !isMaking;
        }
    }

    /// <summary>Bytes that were saved and not yet read.</summary>
    public long BytesReady
    {
        get
        {
            lock (gate)
                return ready.Sum(static chunk => (long)chunk.Length) - headRead;
        }
    }

    /// <summary>
    /// A run follows the one that is under way, if any: what that has not saved yet comes first. Errors: the one that stands, ENODEV after the
    /// end, EBUSY where one waits already.
    /// </summary>
    /// <param name="bufferBytes">Length of each of its buffers.</param>
    /// <param name="isLast">Where it ends, the stream does: until then there is more to come, and a read with nothing yet is EAGAIN.</param>
    public VfioResult Begin(IChunkRun run, int bufferBytes, bool isLast)
    {
        lock (gate)
        {
            if (standing.Errno != Errno.None)
                return standing;
            if (isClosed || isFinal)
                return VfioResult.Fail(Errno.ENODEV, "The migration stream has had its last part; this is a fault of the driver.");
            if (queued is not null)
                return VfioResult.Fail(Errno.EBUSY, "A part of the migration stream waits already; begin another when it has its turn.");
            isFinal = isLast;
            var begun = new Run(run, bufferBytes);
            if (current is null)
                current = begun;
            else
                queued = begun;
        }

        MakeNext();
        return Standing;
    }

    /// <summary>Errors: the first that hardware met, from then on; EAGAIN in the last run where the next chunk is not there yet (VD-MLX-3).</summary>
    public VfioResult<int> Read(Span<byte> destination)
    {
        var read = 0;
        while (read < destination.Length && Head() is { } head)
        {
            var part = Math.Min(destination.Length - read, head.Length - headRead);
            head.Buffer.AsSpan(head.Start + headRead, part).CopyTo(destination[read..]);
            read += part;
            Advance(head, part);
        }

        if (read > 0 || destination.IsEmpty)
            return read;
        lock (gate)
        {
            if (standing.Errno != Errno.None)
                return standing;
            // A chunk may have come since it was looked for; it is the next read's.
            return isFinal && (current is not null || ready.Count > 0)
                ? new VfioError(Errno.EAGAIN, "The device is still saving its state; read again a little later.")
                : 0;
        }
    }

    /// <summary>Nothing that follows is of use: every read gives this error, where none stood before. From any thread.</summary>
    public void Fail(VfioError error)
    {
        lock (gate)
            FailHeld(error);
    }

    /// <summary>No chunk is begun any more. The one that is in the making goes on: see <see cref="IsIdle"/>.</summary>
    public void Stop()
    {
        lock (gate)
            current = queued = null;
    }

    /// <summary>Ends it, without waiting: a buffer that is the hardware's goes back when hardware has done with it, all others at once.</summary>
    public void Close()
    {
        lock (gate)
        {
            isClosed = true;
            current = queued = null;
            while (ready.TryDequeue(out var chunk))
                pool.Return(chunk.Buffer);
            headRead = 0;
            FailHeld(new VfioError(Errno.ENODEV, "The migration stream is closed."));
        }
    }

    /// <summary>What is to be read next; the reader's own until it has advanced past it.</summary>
    private Chunk? Head()
    {
        lock (gate)
            return standing.Errno == Errno.None && ready.TryPeek(out var head) ? head : null;
    }

    private void Advance(Chunk head, int part)
    {
        lock (gate)
        {
            headRead += part;
            if (headRead < head.Length)
                return;
            headRead = 0;
            ready.Dequeue();
            pool.Return(head.Buffer);
        }

        MakeNext();
    }

    /// <summary>Has the next chunk made, if there is one to be made and a buffer for it. Hardware is called with no lock held.</summary>
    private void MakeNext()
    {
        Run run;
        byte[] buffer;
        bool isFirst;
        lock (gate)
        {
            if (isMaking || current is null || ready.Count == buffers || standing.Errno != Errno.None)
                return;
            run = current;
            buffer = pool.Rent(run.BufferBytes);
            (isMaking, isFirst, run.IsBegun) = (true, !run.IsBegun, true);
        }

        var begun = run.Source.Save(buffer.AsMemory(0, run.BufferBytes), isFirst, saved => Complete(run, buffer, saved));
        if (!begun.IsOk)
            Complete(run, buffer, begun.Error);
    }

    private void Complete(Run run, byte[] buffer, VfioResult<SavedChunk> saved)
    {
        lock (gate)
        {
            isMaking = false;
            if (!Keep(run, buffer, saved))
                pool.Return(buffer);
        }

        MakeNext();
    }

    /// <summary>Whether the buffer holds something to be read.</summary>
    private bool Keep(Run run, byte[] buffer, VfioResult<SavedChunk> saved)
    {
        if (isClosed)
            return false;
        if (!saved.IsOk)
        {
            FailHeld(saved.Error);
            return false;
        }

        var (start, length, isLast) = saved.Value;
        if (start < 0 || length < 0 || start > run.BufferBytes - length || (length == 0 && !isLast))
        {
            FailHeld(new VfioError(Errno.EIO, "The device tells of more state than it saved, or of none without an end; reset it."));
            return false;
        }

        if (isLast && current == run)
            (current, queued) = (queued, null);
        if (length > 0)
            ready.Enqueue(new Chunk(buffer, start, length));
        return length > 0;
    }

    /// <summary>The first error stays. One that tells a reader to come again would have him come for ever.</summary>
    private void FailHeld(VfioError error)
    {
        if (standing.Errno != Errno.None)
            return;
        standing = error.Errno is Errno.EAGAIN or Errno.ENOMSG ? new VfioError(Errno.EIO, error.Sentence) : error;
        current = queued = null;
    }
}
