using System.Buffers;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;

namespace Fabric.VfioUser.Client;

/// <summary>The log of DMA of a served device: the server's of what it wrote itself, and ours of what it wrote by messages.</summary>
internal sealed class RemoteDirtyLog(RemoteMigration device) : IDirtyLogOps
{
    private const ulong Page = 4096;

    public int MaxRanges => 1;

    public ulong PageSizes => Page;

    public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
    {
        var range = ranges[0];
        if (range.Length == 0 || range.Length / Page > (ulong)DirtyBitmap.MaxPages)
            return VfioResult.Fail(Errno.E2BIG, "The log of a vfio-user device covers 8 TiB at most; log less.");
        // First ours: what is written in between is noted twice, and not missed.
        device.Dma.Log(new DirtyBitmap(range.First, range.Length, (uint)Page));
        var started = device.StartLog(range.First, range.Length, Page);
        if (!started.IsOk)
            device.Dma.Log(null);
        return started;
    }

    public VfioResult Stop()
    {
        var stopped = device.StopLog();
        device.Dma.Log(null);
        return stopped;
    }

    public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
    {
        var most = (ulong)RemoteMigration.MostBitmap * 8 * Page;
        var bitmap = ArrayPool<byte>.Shared.Rent(RemoteMigration.MostBitmap);
        try
        {
            for (var (iova, left) = (range.First, range.Length); left > 0;)
            {
                var length = Math.Min(left, most);
                var bytes = bitmap.AsSpan(0, (int)((((length / Page) + 63) / 64) * sizeof(ulong)));
                var reported = device.ReportLog(iova, length, Page, bytes);
                if (!reported.IsOk)
                    return reported;
                Mark(dirty, iova, MemoryMarshal.Cast<byte, ulong>(bytes));
                (iova, left) = (iova + length, left - length);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bitmap);
        }

        device.Dma.ReadAndClear(range, dirty);
        return VfioResult.Ok;
    }

    private static void Mark(IDirtyPages dirty, ulong iova, ReadOnlySpan<ulong> words)
    {
        for (var at = 0; at < words.Length; at++)
        {
            for (var word = words[at]; word != 0; word &= word - 1)
                dirty.Mark(iova + ((((ulong)at * 64) + (ulong)BitOperations.TrailingZeroCount(word)) * Page), Page);
        }
    }
}
