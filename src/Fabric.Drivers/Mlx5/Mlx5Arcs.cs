using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Mlx5;

/// <summary>
/// The primitive arcs of mlx5 (contract §7.2). A command that fails leaves the device where it was (MG-33). Firmware saves by itself, so
/// that what ends a stream waits until it has given its buffer back; that is looked for, never waited for.
/// </summary>
/// <param name="chunkBytes">Bytes of each of the two buffers of a stream that saves.</param>
internal sealed class Mlx5Arcs(Mlx5Commands device, TimeProvider time, int chunkBytes = Mlx5Arcs.ChunkBytes) : IMigrationOps
{
    /// <summary>VD-MLX-3.</summary>
    public const int ChunkBytes = 8 << 20;

    private static readonly TimeSpan LookAgain = TimeSpan.FromMilliseconds(1);

    /// <summary>As long as the PF's driver gives a command.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>The last one, until firmware has let go of its buffer.</summary>
    private volatile Mlx5SaveStream? saving;

    private volatile Mlx5LoadStream? loading;
    private volatile bool isFirmwareReset;
    private bool isLetGo;
    private long? waitingSince;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        if (isFirmwareReset && from != Running)
        {
            return ArcResult.Breaks(new VfioError(
                Errno.EIO, "The firmware restarted in mid-migration, and what the device held is lost; reset the device."));
        }

        isFirmwareReset = false;
        return (from, to) switch
        {
            (Running, RunningP2P) or (PreCopy, PreCopyP2P) => device.Suspend(Mlx5Half.Initiator),
            (RunningP2P, Running) or (PreCopyP2P, PreCopy) => device.Resume(Mlx5Half.Initiator),
            (RunningP2P, Stop) => device.Suspend(Mlx5Half.Responder),
            (Stop, RunningP2P) => device.Resume(Mlx5Half.Responder),
            (Running, PreCopy) or (RunningP2P, PreCopyP2P) => WhenIdle(() => Save(stream => stream.StartTracking())),
            (Stop, StopCopy) => WhenIdle(() => Save(stream => stream.Finish(isIncremental: false))),
            (PreCopyP2P, StopCopy) => StopToSave(),
            (PreCopy, Running) or (PreCopyP2P, RunningP2P) => WhenIdle(() => device.CleanUp()),
            (StopCopy, Stop) => WhenIdle(() => ArcResult.Done),
            (Stop, Resuming) => ArcResult.Opens(loading = new Mlx5LoadStream(device)),
            (Resuming, Stop) => loading!.Finish(),
            _ => VfioResult.Fail(Errno.EINVAL, "mlx5 has no such transition."),
        };
    }

    /// <summary>All that there is, in PRE_COPY too, as the kernel's driver has it.</summary>
    public VfioResult<ulong> GetDataSize()
    {
        var size = device.QuerySize(Mlx5Flags.None);
        return size.IsOk ? size.Value.Total + Mlx5StreamFormat.HeaderBytes : size.Error;
    }

    /// <summary>
    /// After a reset the device runs, whatever an arc that was under way then may have told it last (MG-34). Firmware refuses what is so already.
    /// </summary>
    public void Forget()
    {
        (loading, isFirmwareReset, waitingSince) = (null, false, null);
        if (isLetGo)
            return;
        device.Resume(Mlx5Half.Responder);
        device.Resume(Mlx5Half.Initiator);
    }

    public void LetGo() => isLetGo = true;

    /// <summary>What happens at the PF (VD-MLX-5), from the hardware's own thread.</summary>
    public void Hear(PfEvent happened)
    {
        switch (happened)
        {
            case PfEvent.FreshStartUpSet:
                saving?.AnnounceFreshStartUpSet();
                break;
            case PfEvent.Detached:
            case PfEvent.FirmwareReset:
                isFirmwareReset |= happened == PfEvent.FirmwareReset;
                saving?.Fail(new VfioError(
                    Errno.ENODEV, "The PF's driver or firmware went while the state was saved; start the migration again."));
                loading?.Lose();
                break;
        }
    }

    private ArcResult Save(Func<Mlx5SaveStream, VfioResult> start)
    {
        var stream = new Mlx5SaveStream(device, chunkBytes);
        var started = start(stream);
        if (started.IsOk)
        {
            (saving, waitingSince) = (stream, null);
            return ArcResult.Opens(stream);
        }

        stream.Close();
        // Of a session before this one: its saves end by themselves, and nobody reads them.
        return started.Error.Errno == Errno.EBUSY ? Later() : started;
    }

    /// <summary>What cannot be saved goes on as it was.</summary>
    private ArcResult StopToSave()
    {
        if (!saving!.Standing.IsOk)
            return saving.Standing;
        var stopped = device.Suspend(Mlx5Half.Responder);
        if (!stopped.IsOk)
            return stopped;
        var begun = saving.Finish(isIncremental: true);
        if (begun.IsOk)
            return ArcResult.Done;
        return device.Resume(Mlx5Half.Responder) is { IsOk: false } lost ? ArcResult.Breaks(lost.Error) : begun;
    }

    /// <summary>The arc, as soon as firmware has no buffer of the last stream any more: nothing more of it is saved.</summary>
    private ArcResult WhenIdle(Func<ArcResult> arc)
    {
        saving?.Stop();
        if (saving is null or { IsIdle: true })
        {
            waitingSince = null;
            return arc();
        }

        return Later();
    }

    private ArcResult Later()
    {
        waitingSince ??= time.GetTimestamp();
        if (time.GetElapsedTime(waitingSince.Value) < Patience)
            return ArcResult.OnItsWay(LookAgain);
        waitingSince = null;
        return ArcResult.Breaks(new VfioError(Errno.ETIMEDOUT, "The firmware does not finish saving; reset the device, or its PF."));
    }
}
