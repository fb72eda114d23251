using System.Numerics;

namespace Fabric.Vfio.Dirty;

public enum DirtyLogState
{
    Off,
    On,

    /// <summary>What was dirty is lost, and stays so until the log is stopped and started again.</summary>
    Broken,
}

/// <summary>
/// The DMA log of one device (contract §6.6): what may be asked of it and when. The driver behind <see cref="IDirtyLogOps"/> reads the device.
/// It is independent of migration states, and a reset leaves it alone (MG-34, MG-42). One caller at a time.
/// </summary>
public sealed class DirtyLog(IDirtyLogOps ops)
{
    /// <summary>Ranges of one start: what a page of 4 KiB holds of them (MG-40).</summary>
    public const int MaxRanges = 256;

    /// <summary>The smallest page of a report, in bytes (MG-41).</summary>
    public const ulong MinReportPage = 4096;

    private DirtyLogState state;
    private IReadOnlyList<IovaRange> watched = [];
    private ulong pageSize;

    public DirtyLogState State => ops.HasEnded ? DirtyLogState.Off : state;

    /// <summary>What the device watches: all that was asked for, and where it cannot do that alone, more (MG-43). Empty when the log is off.</summary>
    public IReadOnlyList<IovaRange> Watched => State == DirtyLogState.Off ? [] : watched;

    /// <summary>By which pages the device logs, in bytes; 0 when the log is off.</summary>
    public ulong PageSize => State == DirtyLogState.Off ? 0 : pageSize;

    /// <summary>
    /// DMA_LOGGING_START (MG-40). Errors, in this order: EINVAL without a range, E2BIG for more than 256; of each range EINVAL when it is not whole
    /// pages, EOVERFLOW when it does not end within the address space, EINVAL when it overlaps one before it; then EINVAL when the log is on, and
    /// the device's own.
    /// </summary>
    /// <param name="pageSize">In bytes, a power of two; a hint.</param>
    /// <returns>The page size that the device took instead, to be written back.</returns>
    public VfioResult<ulong> Start(ulong pageSize, ReadOnlySpan<LoggingRange> ranges)
    {
        if (ranges.IsEmpty)
            return new VfioError(Errno.EINVAL, "DMA logging watches ranges; give at least one.");
        if (ranges.Length > MaxRanges)
            return new VfioError(Errno.E2BIG, "DMA logging takes at most 256 ranges; merge those that lie close together.");
        if (!BitOperations.IsPow2(pageSize))
            return new VfioError(Errno.EINVAL, "A page size is a power of two.");
        var asked = new IovaRange[ranges.Length];
        for (var index = 0; index < asked.Length; index++)
        {
            if (Check(ranges[index], pageSize, asked.AsSpan(0, index), out asked[index]) is { Errno: not Errno.None } refused)
                return refused;
        }

        if (State != DirtyLogState.Off)
            return new VfioError(Errno.EINVAL, "DMA logging is on already; stop it first.");
        var chosen = Nearest(pageSize, ops.PageSizes);
        var merged = IovaRange.Merge(asked.Select(range => range.Widen(chosen)), ops.MaxRanges);
        var started = ops.Start(merged, chosen);
        if (!started.IsOk)
            return started.Error;
        (state, watched, this.pageSize) = (DirtyLogState.On, merged, chosen);
        return chosen;
    }

    /// <summary>DMA_LOGGING_STOP (MG-42): nothing to do, and no error, where the log is off. It is off afterwards in any case.</summary>
    public VfioResult Stop()
    {
        if (State == DirtyLogState.Off)
            return VfioResult.Ok;
        (state, watched, pageSize) = (DirtyLogState.Off, [], 0);
        return ops.Stop();
    }

    /// <summary>
    /// DMA_LOGGING_REPORT (MG-41): ORs what is dirty into the user's bitmap, and clears it in the device's log. When it fails, anything may be dirty.
    /// Errors, in this order: EINVAL for a page size under 4096 or no power of two, EOVERFLOW for a range that does not end within the address
    /// space, EINVAL for an empty one, EFAULT for a bitmap that does not hold a bit for every page, EINVAL when the log is off, EIO when it is broken.
    /// </summary>
    /// <param name="pageSize">Bytes that a bit stands for.</param>
    /// <param name="bitmap">A word for every 64 pages, rounded up; bit 0 of word 0 is the page at <paramref name="iova"/>.</param>
    public VfioResult Report(ulong iova, ulong length, ulong pageSize, Memory<ulong> bitmap)
    {
        if (pageSize < MinReportPage || !BitOperations.IsPow2(pageSize))
            return VfioResult.Fail(Errno.EINVAL, "A DMA log is reported by pages of a power of two, 4096 or more.");
        if (length > ulong.MaxValue - iova)
            return PastTheEnd;
        if (length == 0)
            return Empty;
        if (((length - 1) / pageSize / 64) + 1 > (ulong)bitmap.Length)
            return VfioResult.Fail(Errno.EFAULT, "The bitmap is shorter than a bit for every page of the range.");
        return Report(new IovaRange(iova, iova + (length - 1)), new ReportBitmap(iova, length, pageSize, bitmap));
    }

    /// <summary>The same without a bitmap: what is dirty is put down elsewhere. Errors: those above, but for EFAULT.</summary>
    public VfioResult Report(ulong iova, ulong length, ulong pageSize, IDirtyPages dirty)
    {
        if (pageSize < MinReportPage || !BitOperations.IsPow2(pageSize))
            return VfioResult.Fail(Errno.EINVAL, "A DMA log is reported by pages of a power of two, 4096 or more.");
        if (length > ulong.MaxValue - iova)
            return PastTheEnd;
        return length == 0 ? Empty : Report(new IovaRange(iova, iova + (length - 1)), dirty);
    }

    /// <summary>The same of all that is watched, as one bitmap. Errors: EINVAL when the log is off, E2BIG when it would be too long, EIO when broken.</summary>
    public VfioResult<DirtyBitmap> Report()
    {
        if (State == DirtyLogState.Off)
            return Off;
        var hull = new IovaRange(Watched[0].First, Watched[^1].Last).Widen(Math.Max(PageSize, MinReportPage));
        var pageSize = (uint)Math.Clamp(PageSize, MinReportPage, 1u << 31);
        if ((hull.Length - 1) / pageSize >= DirtyBitmap.MaxPages)
            return new VfioError(Errno.E2BIG, "What is watched is too far apart for one bitmap; report it range by range.");
        var pages = new DirtyBitmap(hull.First, hull.Length, pageSize);
        var reported = Report(hull, pages);
        return reported.IsOk ? pages : reported.Error;
    }

    private VfioResult Report(IovaRange range, IDirtyPages dirty)
    {
        if (State == DirtyLogState.Off)
            return Off;
        if (State == DirtyLogState.Broken)
            return VfioResult.Fail(Errno.EIO, "The DMA log is broken, and anything may be dirty; stop the log, and start it again.");
        foreach (var watched in Watched)
        {
            if (!watched.Overlaps(range))
                continue;
            var read = ops.ReadAndClear(new IovaRange(Math.Max(watched.First, range.First), Math.Min(watched.Last, range.Last)), dirty);
            if (read.Error.Errno == Errno.EIO)
                state = DirtyLogState.Broken;
            if (!read.IsOk)
                return read;
        }

        return VfioResult.Ok;
    }

    private static VfioError Check(LoggingRange range, ulong pageSize, ReadOnlySpan<IovaRange> before, out IovaRange asked)
    {
        asked = new IovaRange(range.Iova, range.Iova + (range.Length - 1));
        if (((range.Iova | range.Length) & (pageSize - 1)) != 0)
            return new VfioError(Errno.EINVAL, "DMA logging watches whole pages; align the range.");
        if (range.Length > ulong.MaxValue - range.Iova)
            return PastTheEnd;
        if (range.Length == 0)
            return Empty;
        foreach (var other in before)
        {
            if (asked.Overlaps(other))
                return new VfioError(Errno.EINVAL, "Two ranges overlap; give every IOVA once.");
        }

        return default;
    }

    /// <summary>The largest page size that the device has and that is not larger than the hint; else its smallest.</summary>
    private static ulong Nearest(ulong hint, ulong supported)
    {
        var notLarger = supported & (hint | (hint - 1));
        return notLarger == 0 ? supported & (~supported + 1) : 1UL << BitOperations.Log2(notLarger);
    }

    private static VfioError Off => new(Errno.EINVAL, "DMA logging is not on; start it first.");

    private static VfioError Empty => new(Errno.EINVAL, "The range is empty; give at least one page.");

    private static VfioError PastTheEnd => new(Errno.EOVERFLOW, "The range does not end within the 64-bit address space; shorten it.");
}
