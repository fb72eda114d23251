namespace Fabric.Vfio.Dirty;

/// <summary>
/// The DMA log of a device that has no DMA: it watches whatever it is asked to, by pages of any size, and nothing is ever dirty. That is exact and
/// no omission: a report is of what the device wrote (MG-41). To report everything would be right as well, and would make a VMM send all of memory
/// again in every round.
/// </summary>
public sealed class SilentDmaLog : IDirtyLogOps
{
    public int MaxRanges => DirtyLog.MaxRanges;

    public ulong PageSizes => ulong.MaxValue;

    public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize) => VfioResult.Ok;

    public VfioResult Stop() => VfioResult.Ok;

    public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty) => VfioResult.Ok;
}
