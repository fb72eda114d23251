using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio.Dirty;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>The page tracker of one VF, and the queue pair by which it tells (MG-40, MG-41). The VF's clock is held.</summary>
internal sealed class Mlx5PageTracker
{
    private readonly SortedSet<ulong> dirty = [];
    private readonly Queue<ulong> told = [];
    private uint queue;
    private uint tracker;
    private uint last;
    private int pageShift;
    private bool isFailed;
    private IovaRange[] ranges = [];

    /// <summary>Notes what DMA wrote.</summary>
    public void Mark(ulong iova, int bytes)
    {
        foreach (var range in ranges)
        {
            var written = new IovaRange(iova, iova + (ulong)bytes - 1);
            if (!range.Overlaps(written))
                continue;
            for (var page = Math.Max(iova, range.First) >> pageShift; page <= Math.Min(written.Last, range.Last) >> pageShift; page++)
                dirty.Add(page << pageShift);
        }
    }

    public void Fail()
    {
        isFailed = queue != 0;
        dirty.Clear();
        told.Clear();
    }

    public void Drop()
    {
        (queue, tracker, ranges, isFailed) = (0, 0, [], false);
        dirty.Clear();
        told.Clear();
    }

    public uint CreateQueue()
    {
        told.Clear();
        isFailed = false;
        return queue = ++last;
    }

    /// <summary>Not while a tracker tells by it.</summary>
    public Mlx5Status DestroyQueue(uint number)
    {
        if (number == 0 || number != queue)
            return Mlx5Status.BadParameter;
        if (tracker != 0)
            return Mlx5Status.BadResourceState;
        queue = 0;
        return Mlx5Status.Ok;
    }

    public Mlx5Status Create(uint queuePair, ReadOnlySpan<byte> command, ulong pageSizes, int maxRanges, Span<byte> reply)
    {
        var shift = BinaryPrimitives.ReadUInt32BigEndian(command[Mlx5Tracker.PageShift..]);
        var behind = command[Mlx5Command.Bytes..];
        if (queuePair == 0 || queuePair != queue || shift > 63 || ((pageSizes >> (int)shift) & 1) == 0 || behind.Length % Mlx5Tracker.RangeBytes != 0)
            return Mlx5Status.BadParameter;
        if (behind.Length / Mlx5Tracker.RangeBytes > maxRanges)
            return Mlx5Status.LimitExceeded;
        if (tracker != 0)
            return Mlx5Status.BadResourceState;
        ranges = new IovaRange[behind.Length / Mlx5Tracker.RangeBytes];
        for (var range = 0; range < ranges.Length; range++)
        {
            var at = behind[(range * Mlx5Tracker.RangeBytes)..];
            ranges[range] = new IovaRange(BinaryPrimitives.ReadUInt64BigEndian(at), BinaryPrimitives.ReadUInt64BigEndian(at[8..]));
        }

        (pageShift, tracker) = ((int)shift, ++last);
        dirty.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5Reply.Number..], tracker);
        return Mlx5Status.Ok;
    }

    public Mlx5Status Destroy(uint number)
    {
        if (number == 0 || number != tracker)
            return Mlx5Status.BadParameter;
        (tracker, ranges) = (0, []);
        dirty.Clear();
        return Mlx5Status.Ok;
    }

    public Mlx5Status Report(uint number, ReadOnlySpan<byte> command)
    {
        if (number == 0 || number != tracker)
            return Mlx5Status.BadParameter;
        var first = BinaryPrimitives.ReadUInt64BigEndian(command[Mlx5Tracker.ReportFirst..]);
        var end = BinaryPrimitives.ReadUInt64BigEndian(command[Mlx5Tracker.ReportLast..]);
        if (end < first)
            return Mlx5Status.BadParameter;
        // A page that has a byte of the range.
        foreach (var page in dirty.GetViewBetween(first >> pageShift << pageShift, end).ToArray())
        {
            told.Enqueue(page);
            dirty.Remove(page);
        }

        return Mlx5Status.Ok;
    }

    public Mlx5Status Poll(uint number, Span<byte> reply, ref int length)
    {
        if (number == 0 || number != queue)
            return Mlx5Status.BadParameter;
        var most = Math.Min(Mlx5TrackerReport.MaxEntries, (reply.Length - Mlx5Reply.Bytes) / Mlx5TrackerReport.EntryBytes);
        var entries = 0;
        for (; entries < most && told.TryDequeue(out var page); entries++, length += Mlx5TrackerReport.EntryBytes)
            BinaryPrimitives.WriteUInt64BigEndian(reply[length..], page);
        var state = isFailed ? Mlx5TrackerState.Error : told.Count > 0 ? Mlx5TrackerState.Reporting : Mlx5TrackerState.Tracking;
        BinaryPrimitives.WriteInt32BigEndian(reply[Mlx5TrackerReport.Entries..], entries);
        BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5TrackerReport.State..], (uint)state);
        return Mlx5Status.Ok;
    }
}
