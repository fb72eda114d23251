using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's DMA log: one range, pages of 4096 bytes. The device gives it up in words of 64 pages, so that pages are kept here that came
/// with those that were asked for.
/// </summary>
internal sealed class AcceleratorDmaLog(AcceleratorCommands device) : IDirtyLogOps
{
    private DirtyBitmap? unreported;

    public int MaxRanges => 1;

    public ulong PageSizes => AcceleratorMigration.LogPageSize;

    public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
    {
        if (ranges[0].Length - 1 >= AcceleratorMigration.MaxLogLength)
            return VfioResult.Fail(Errno.E2BIG, "The range is longer than the accelerator can watch (64 GiB), or the ranges are further apart.");
        unreported = new DirtyBitmap(ranges[0].First, ranges[0].Length, AcceleratorMigration.LogPageSize);
        return device.StartDmaLog(ranges[0]);
    }

    public VfioResult Stop()
    {
        unreported = null;
        return device.Execute(AcceleratorCommand.StopDmaLog);
    }

    public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
    {
        var pages = unreported!;
        var taken = device.TakeDmaLog(pages, range);
        if (!taken.IsOk)
            return taken;
        for (var at = range.Widen(pages.PageSize).First; pages.NextRun(at) is { } run && run.Iova <= range.Last; at = run.Iova + run.Length)
        {
            var end = Math.Min(run.Iova + (run.Length - 1), range.Last);
            dirty.Mark(run.Iova, end - run.Iova + 1);
            if (end == range.Last)
                break;
        }

        pages.Clear(range.First, range.Length);
        return VfioResult.Ok;
    }
}
