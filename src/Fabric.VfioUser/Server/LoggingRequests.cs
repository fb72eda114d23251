using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>
/// The log of DMA by ranges of the client's, over a device that logs one range and reports it as a whole: what was reported for one range is kept
/// for those that are asked about later. Dirt may be over-reported, never under-reported.
/// </summary>
internal sealed class LoggingRequests(DeviceClient device, DmaRequests memory, uint mostBytes)
{
    private const ulong Page = 4096;

    private DirtyBitmap? dirty;
    private IovaRange? watched;

    /// <summary>Errors: ENOTTY.</summary>
    public async Task<VfioResult<FeatureOps>> FindAsync(FeatureOps operations)
    {
        // Stopping a log that is off does nothing (MG-42), and is refused where there is none.
        var has = watched is null ? await device.StopDmaLoggingAsync().ConfigureAwait(false) : VfioResult.Ok;
        return has.IsOk ? operations : has.Error;
    }

    /// <summary>Errors: EINVAL, E2BIG for more than 256 ranges, EOVERFLOW; ENOTTY; the device's own.</summary>
    public async Task<VfioResult> StartAsync(Message request, Reply reply)
    {
        var data = request.After<VfioDeviceFeature>();
        if (!LoggingStartPayload.TryRead(data.Span, out var asked))
            return Refused.Length;
        if (asked.Ranges > DirtyLog.MaxRanges)
            return VfioResult.Fail(Errno.E2BIG, "DMA_LOGGING_START: 256 ranges are the limit; merge some.");
        var ranges = data[LoggingStartPayload.WireSize..];
        if (ranges.Length != (int)asked.Ranges * VfioDeviceFeatureDmaLoggingRange.WireSize)
            return Refused.Length;
        if (asked.PageSize < Page || !ulong.IsPow2(asked.PageSize))
            return VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_START: the page size must be a power of two, 4096 at least.");
        var hull = asked.Ranges == 0 ? Everything() : Hull(ranges.Span);
        if (!hull.IsOk)
            return hull.Error;
        var started = await device.StartDmaLoggingAsync(hull.Value.First, hull.Value.Length).ConfigureAwait(false);
        if (!started.IsOk)
            return started;
        (watched, dirty) = (hull.Value, null);
        reply.Echo(request);
        return VfioResult.Ok;
    }

    /// <summary>Errors: ENOTTY.</summary>
    public async Task<VfioResult> StopAsync(Message request, Reply reply)
    {
        var stopped = await device.StopDmaLoggingAsync().ConfigureAwait(false);
        if (!stopped.IsOk)
            return stopped;
        (watched, dirty) = (null, null);
        reply.Echo(request);
        return VfioResult.Ok;
    }

    /// <summary>Reads and clears. What lies outside of all that is logged is dirty: nobody looked. Errors: EINVAL, EOVERFLOW, ENOTTY.</summary>
    public async Task<VfioResult> ReportAsync(VfioDeviceFeature head, Message request, Reply reply)
    {
        var data = request.After<VfioDeviceFeature>();
        if (data.Length != LoggingReportPayload.WireSize || !LoggingReportPayload.TryRead(data.Span, out var asked))
            return Refused.Length;
        var check = VfioDeviceFeatureDmaLoggingReport.Check(new VfioDeviceFeatureDmaLoggingReport(asked.Iova, asked.Length, asked.PageSize, 0));
        if (!check.IsOk)
            return check;
        if (asked.Length == 0)
            return VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_REPORT: the range is empty.");
        var words = ((((asked.Length - 1) / asked.PageSize) + 1) + 63) / 64;
        if (words > mostBytes / sizeof(ulong))
            return VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_REPORT: the bitmap is larger than max_data_xfer_size; ask for a part of the range.");
        var size = VfioDeviceFeature.WireSize + LoggingReportPayload.WireSize + (int)words * sizeof(ulong);
        if (head.Argsz < (uint)size)
            return Refused.Argsz;
        if (watched is not { } range)
            return VfioResult.Fail(Errno.EINVAL, "DMA_LOGGING_REPORT: the log is off; start it first.");
        var reported = await device.ReportDmaLoggingAsync().ConfigureAwait(false);
        if (!reported.IsOk)
            return reported.Error;
        if (dirty is null)
            dirty = reported.Value;
        else
            dirty.MergeFrom(reported.Value);

        var room = reply.Payload(size);
        (head with { Argsz = (uint)size }).Encode(room);
        asked.Encode(room[VfioDeviceFeature.WireSize..]);
        Fill(room[(VfioDeviceFeature.WireSize + LoggingReportPayload.WireSize)..], asked, range, dirty);
        dirty.Clear(asked.Iova, asked.Length);
        return VfioResult.Ok;
    }

    private static void Fill(Span<byte> bitmap, LoggingReportPayload asked, IovaRange watched, DirtyBitmap dirty)
    {
        bitmap.Clear();
        var last = asked.Iova + (asked.Length - 1);
        if (asked.Iova < watched.First)
            Mark(bitmap, asked, asked.Iova, Math.Min(last, watched.First - 1));
        if (last > watched.Last)
            Mark(bitmap, asked, Math.Max(asked.Iova, watched.Last + 1), last);
        for (var run = dirty.NextRun(asked.Iova); run is { } found && found.Iova <= last; run = Next(dirty, found))
            Mark(bitmap, asked, Math.Max(found.Iova, asked.Iova), Math.Min(found.Iova + (found.Length - 1), last));
    }

    private static (ulong Iova, ulong Length)? Next(DirtyBitmap dirty, (ulong Iova, ulong Length) run) =>
        run.Iova + run.Length is var next && next == 0 ? null : dirty.NextRun(next);

    private static void Mark(Span<byte> bitmap, LoggingReportPayload asked, ulong first, ulong last)
    {
        var end = (last - asked.Iova) / asked.PageSize;
        for (var page = (first - asked.Iova) / asked.PageSize; page <= end; page++)
        {
            // Whole bytes at once, where there are some.
            if (page % 8 == 0 && end - page >= 8)
            {
                var bytes = (int)((end - page) / 8);
                bitmap.Slice((int)(page / 8), bytes).Fill(0xff);
                page += ((ulong)bytes * 8) - 1;
                continue;
            }

            bitmap[(int)(page / 8)] |= (byte)(1 << (int)(page % 8));
        }
    }

    private VfioResult<IovaRange> Everything() => memory.Hull is { } hull
        ? new IovaRange(hull.First, hull.Last)
        : new VfioError(Errno.EINVAL, "DMA_LOGGING_START: nothing is mapped, so there is nothing to log; map memory first.");

    private static VfioResult<IovaRange> Hull(ReadOnlySpan<byte> ranges)
    {
        var (first, last) = (ulong.MaxValue, 0UL);
        for (; !ranges.IsEmpty; ranges = ranges[VfioDeviceFeatureDmaLoggingRange.WireSize..])
        {
            VfioDeviceFeatureDmaLoggingRange.TryRead(ranges, out var range);
            if (range.Length == 0 || ((range.Iova | range.Length) % Page) != 0)
                return new VfioError(Errno.EINVAL, "DMA_LOGGING_START: a range is empty or not of whole pages.");
            if (range.Length - 1 > ulong.MaxValue - range.Iova)
                return new VfioError(Errno.EOVERFLOW, "DMA_LOGGING_START: a range runs past the end of the address space.");
            (first, last) = (Math.Min(first, range.Iova), Math.Max(last, range.Iova + (range.Length - 1)));
        }

        return new IovaRange(first, last);
    }
}
