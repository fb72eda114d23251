using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Mlx5;

/// <summary>
/// The VF's DMA log: a page tracker object, and the queue pair by which it tells. When either fails what was dirty is lost, and every report is
/// EIO until the log is started anew (VD-MLX-5).
/// </summary>
internal sealed class Mlx5DmaLog(Mlx5Commands device) : IDirtyLogOps
{
    private uint queue;
    private uint tracker;
    private ulong pageSize;
    private volatile bool isBroken;

    public int MaxRanges => device.MaxTrackerRanges;

    public ulong PageSizes => device.TrackerPageSizes;

    public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
    {
        (this.pageSize, isBroken) = (pageSize, false);
        var queuePair = device.CreateQueue();
        if (!queuePair.IsOk)
            return queuePair.Error;
        var created = device.CreateTracker(queuePair.Value, ranges, pageSize);
        if (!created.IsOk)
        {
            device.DestroyQueue(queuePair.Value);
            return created.Error;
        }

        (queue, tracker) = (queuePair.Value, created.Value);
        return VfioResult.Ok;
    }

    /// <summary>What went with the PF's driver or firmware is gone as it should be. Errors: those of the device, of a log that was sound.</summary>
    public VfioResult Stop()
    {
        var stopped = device.DestroyTracker(tracker);
        var closed = device.DestroyQueue(queue);
        (queue, tracker) = (0, 0);
        return isBroken ? VfioResult.Ok : stopped.IsOk ? closed : stopped;
    }

    /// <summary>The device is let go: the PF's firmware keeps no tracker of it.</summary>
    public void LetGo()
    {
        if (tracker != 0)
            Stop();
    }

    public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
    {
        if (isBroken)
            return Broken;
        var told = device.ReportTracker(tracker, range);
        if (!told.IsOk)
            return told;
        while (true)
        {
            var polled = device.PollQueue(queue, pageSize, dirty);
            if (!polled.IsOk)
            {
                // What was told of and not fetched is in nobody's log any more.
                isBroken = true;
                return polled.Error.Errno == Errno.ENOTCONN ? polled.Error : Broken;
            }

            switch (polled.Value)
            {
                case { State: Mlx5TrackerState.Tracking }:
                    return VfioResult.Ok;
                case { State: Mlx5TrackerState.Reporting, Told: > 0 }:
                    break;
                default:
                    isBroken = true;
                    return Broken;
            }
        }
    }

    /// <summary>Where the PF's driver or firmware goes, the tracker goes with it. From any thread.</summary>
    public void Hear(PfEvent happened)
    {
        if (happened is PfEvent.Detached or PfEvent.FirmwareReset)
            isBroken = true;
    }

    private static VfioResult Broken => VfioResult.Fail(
        Errno.EIO, "The device's page tracker has failed, and anything may be dirty; stop the log, and start it again.");
}
