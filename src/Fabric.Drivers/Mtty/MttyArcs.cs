using Fabric.Hardware.Specs.Mtty;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The serial card's primitive arcs (contract §7.2, §8.4). It starts no DMA, so that P2P states are the running ones; stopped is suspended.
/// Before and after each arc it is looked whether the card is where it was put: one that is not was reset in mid-migration (ER-10), and is
/// lost (MG-31), as is one that does not answer.
/// </summary>
/// <param name="flags">Which states it offers; it can all (MG-5).</param>
internal sealed class MttyArcs(MttyCommands device, MigrationFlags flags = MttyArcs.Everything) : IMigrationOps
{
    public const MigrationFlags Everything = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private MttySaveStream? saving;
    private MttyLoadStream? loading;
    private bool isReleased;

    public MigrationFlags Flags => flags;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        if (Check(from) is { IsOk: false } lost)
            return lost;
        var done = Tell(from, to);
        return done.IsOk && Check(to) is { IsOk: false } lostMeanwhile ? lostMeanwhile : done;
    }

    /// <summary>The stream is as long as the card has ports, whatever they hold.</summary>
    public VfioResult<ulong> GetDataSize() => (ulong)MttyStreamFormat.BytesOf(device.Ports);

    /// <summary>
    /// After a reset the card runs, whatever an arc that was under way then may have told it last (MG-34). One that does not answer is found at
    /// the next arc.
    /// </summary>
    public void Forget()
    {
        (saving, loading) = (null, null);
        if (!isReleased)
            device.Execute(MttyCommand.Resume);
    }

    /// <summary>
    /// The card is another's from now on: that its streams end here is no reason for it to run, for it may run elsewhere by now.
    /// </summary>
    public void Release() => isReleased = true;

    private ArcResult Tell(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) or (RunningP2P, Running) or (PreCopy, PreCopyP2P) or (PreCopyP2P, PreCopy) => ArcResult.Done,
        (Running or RunningP2P, Stop) => Of(device.Execute(MttyCommand.Suspend)),
        (Stop, Running or RunningP2P) => Of(device.Execute(MttyCommand.Resume)),
        (Running, PreCopy) or (RunningP2P, PreCopyP2P) => ArcResult.Opens(saving = new MttySaveStream(device.Ports)),
        (PreCopy or PreCopyP2P, StopCopy) => StopToSave(),
        (Stop, StopCopy) => Save(),
        (PreCopy, Running) or (PreCopyP2P, RunningP2P) or (StopCopy, Stop) => ArcResult.Done,
        (Stop, Resuming) => ArcResult.Opens(loading = new MttyLoadStream(device)),
        (Resuming, Stop) => Of(loading!.Finish()),
        _ => VfioResult.Fail(Errno.EINVAL, "The serial card has no such transition."),
    };

    private ArcResult StopToSave()
    {
        var suspended = device.Execute(MttyCommand.Suspend);
        return Of(suspended.IsOk ? saving!.Stop(device) : suspended);
    }

    private ArcResult Save()
    {
        saving = new MttySaveStream(device.Ports);
        var saved = saving.Stop(device);
        return saved.IsOk ? ArcResult.Opens(saving) : Of(saved);
    }

    private ArcResult Check(MigrationState state)
    {
        var suspended = device.IsSuspended();
        if (!suspended.IsOk)
            return Of(suspended.Error);
        return suspended.Value == state is Stop or StopCopy or Resuming
            ? ArcResult.Done
            : ArcResult.Breaks(new VfioError(
                Errno.EIO, "The serial card was reset behind its driver's back, and what it held is lost; reset the device."));
    }

    /// <summary>What the card answered. EIO is a card that does not answer; other errors are the stream's, or of a session that has ended.</summary>
    private static ArcResult Of(VfioResult result) => result.Error.Errno == Errno.EIO ? ArcResult.Breaks(result.Error) : result;
}
