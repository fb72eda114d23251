using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's primitive arcs (contract §7.2, as mlx5 does them): what the device is told, and which stream comes and goes. Before and
/// after each it is looked whether the device is where it was put: one that is not was reset in mid-migration (ER-10), and is lost (MG-31).
/// </summary>
internal sealed class AcceleratorArcs(AcceleratorCommands device) : IMigrationOps
{
    private AcceleratorSaveStream? saving;
    private AcceleratorLoadStream? loading;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        if (Check(from) is { IsOk: false } lost)
            return lost;
        var done = Tell(from, to);
        return done.IsOk && Check(to) is { IsOk: false } lostMeanwhile ? lostMeanwhile : done;
    }

    public VfioResult<ulong> GetDataSize() => device.StateBytes + AcceleratorMigration.ContextBytes;

    public void Forget() => (saving, loading) = (null, null);

    private ArcResult Tell(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) or (PreCopy, PreCopyP2P) => device.Execute(AcceleratorCommand.SuspendInitiator),
        (RunningP2P, Running) or (PreCopyP2P, PreCopy) => device.Execute(AcceleratorCommand.ResumeInitiator),
        (RunningP2P, Stop) => device.Execute(AcceleratorCommand.SuspendResponder),
        (Stop, RunningP2P) => device.Execute(AcceleratorCommand.ResumeResponder),
        (Running, PreCopy) or (RunningP2P, PreCopyP2P) or (Stop, StopCopy) => StartSaving(stopped: to == StopCopy),
        (PreCopyP2P, StopCopy) => StopToSave(),
        (PreCopy, Running) or (PreCopyP2P, RunningP2P) or (StopCopy, Stop) => device.Execute(AcceleratorCommand.StopStateLog),
        (Stop, Resuming) => ArcResult.Opens(loading = new AcceleratorLoadStream(device)),
        (Resuming, Stop) => loading!.Finish(),
        _ => VfioResult.Fail(Errno.EINVAL, "The accelerator has no such transition."),
    };

    private ArcResult StartSaving(bool stopped)
    {
        var started = device.Execute(AcceleratorCommand.StartStateLog);
        if (!started.IsOk)
            return started;
        saving = new AcceleratorSaveStream(device);
        if (stopped)
            saving.Stop();
        return ArcResult.Opens(saving);
    }

    private ArcResult StopToSave()
    {
        var suspended = device.Execute(AcceleratorCommand.SuspendResponder);
        if (suspended.IsOk)
            saving!.Stop();
        return suspended;
    }

    /// <summary>A device that cannot be asked, because its session has ended, is not lost.</summary>
    private ArcResult Check(MigrationState state)
    {
        var whole = device.CheckActivity(ActivityOf(state), ~AcceleratorActivity.DmaLogOn);
        return whole.Error.Errno is Errno.None or Errno.ENODEV ? whole : ArcResult.Breaks(whole.Error);
    }

    private static AcceleratorActivity ActivityOf(MigrationState state) => state switch
    {
        RunningP2P => AcceleratorActivity.InitiatorSuspended,
        PreCopy => AcceleratorActivity.StateLogOn,
        PreCopyP2P => AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.StateLogOn,
        Stop or Resuming => AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended,
        StopCopy => AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended | AcceleratorActivity.StateLogOn,
        _ => AcceleratorActivity.None,
    };
}
