using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Pds;

/// <summary>The VF's primitive arcs (contract §7.2): commands to firmware, which takes its time to suspend (VD-PDS-1).</summary>
internal sealed class PdsArcs(PdsCommands device, PdsHost host, PdsDmaLog log, TimeProvider time) : IMigrationOps
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LookFor = TimeSpan.FromSeconds(5);

    private LoadBuffer? loading;
    private long? suspendingSince;

    /// <summary>Firmware was told something that is to be undone.</summary>
    private bool isSuspended;
    private bool isLetGo;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P;

    public ArcResult Perform(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) => Quiesce(),
        (RunningP2P, Stop) => Suspend(PdsSuspension.Full, undo: PdsSuspension.PeerToPeer),
        (Stop, RunningP2P) => ResumeResponder(),
        (RunningP2P, Running) => Run(),
        (Stop, StopCopy) => Save(),
        (StopCopy, Stop) => log.End(),
        (Stop, Resuming) => ArcResult.Opens(loading = new LoadBuffer(PdsAdminQueue.StateBytes)),
        (Resuming, Stop) => Load(loading!),
        _ => VfioResult.Fail(Errno.EINVAL, "The VF has no such transition."),
    };

    /// <summary>Always the same (VD-PDS-2).</summary>
    public VfioResult<ulong> GetDataSize() => PdsAdminQueue.StateBytes;

    /// <summary>
    /// After a reset the VF runs, whatever an arc that was under way then may have told firmware last (MG-34). The log lives on: a reset is no matter
    /// of it.
    /// </summary>
    public void Forget()
    {
        (loading, suspendingSince) = (null, null);
        if (isSuspended && !isLetGo)
            device.Resume(PdsSuspension.Full);
        isSuspended = false;
        host.End(PdsActivity.Migrating);
    }

    public void LetGo() => isLetGo = true;

    /// <summary>
    /// The PF's firmware recovered, and has forgotten what it was told. Where that was of no matter, nothing happens; else the state is lost, and
    /// every transition is EIO until a reset (VD-PDS-3). Tells whether it is lost.
    /// </summary>
    public bool OnFirmwareRecovered(MigrationMachine migration)
    {
        if (migration.State == Running && !log.IsOn)
            return false;
        log.Lose();
        host.End(PdsActivity.Migrating);
        migration.Fail(new VfioError(Errno.EIO, "The firmware of the PF recovered in mid-migration, and its state is lost; reset the device."));
        return true;
    }

    private ArcResult Quiesce()
    {
        var begun = host.Begin(PdsActivity.Migrating);
        if (!begun.IsOk)
            return begun;
        var suspended = Suspend(PdsSuspension.PeerToPeer, undo: PdsSuspension.Full);
        if (!suspended.IsOk)
            host.End(PdsActivity.Migrating);
        return suspended;
    }

    private ArcResult Suspend(PdsSuspension what, PdsSuspension undo)
    {
        isSuspended = true;
        var told = suspendingSince is null ? device.Suspend(what) : VfioResult.Ok;
        if (!told.IsOk)
            return told;
        suspendingSince ??= time.GetTimestamp();
        var suspended = device.IsSuspended(what);
        if (suspended is { IsOk: true, Value: false } && time.GetElapsedTime(suspendingSince.Value) < LookFor)
            return ArcResult.OnItsWay(LookEvery);
        suspendingSince = null;
        if (suspended is { IsOk: true, Value: true })
            return ArcResult.Done;
        return GiveUp(undo, suspended.IsOk
            ? new VfioError(Errno.ETIMEDOUT, "The VF did not stand after 5 s, and goes on; try again, or reset the device.")
            : suspended.Error);
    }

    /// <summary>A VF that was told to stand stays where it was; where it cannot be told so, it is lost (MG-31, MG-33).</summary>
    private ArcResult GiveUp(PdsSuspension undo, VfioError cause) =>
        device.Resume(undo).IsOk ? ArcResult.Fails(cause) : ArcResult.Breaks(cause);

    private ArcResult ResumeResponder()
    {
        isSuspended = true;
        return device.Resume(PdsSuspension.PeerToPeer);
    }

    private ArcResult Run()
    {
        var resumed = device.Resume(PdsSuspension.Full);
        if (!resumed.IsOk)
            return resumed;
        isSuspended = false;
        host.End(PdsActivity.Migrating);
        return ArcResult.Done;
    }

    private ArcResult Save()
    {
        var size = device.GetStateSize();
        if (size is { IsOk: true, Value: not PdsAdminQueue.StateBytes })
            return VfioResult.Fail(Errno.EIO, "The card's firmware has another size of state than is migrated; update the driver or the firmware.");
        var saved = size.IsOk ? device.Save() : size.Error;
        if (!saved.IsOk)
            return ArcResult.Fails(saved.Error);
        var stream = new SaveBuffer(PdsAdminQueue.StateBytes);
        var appended = stream.Append(saved.Value.Span);
        return appended.IsOk ? ArcResult.Opens(stream) : appended;
    }

    /// <summary>Errors: what a write was refused with; EINVAL for less than a state, which may be gone on with, and from firmware.</summary>
    private ArcResult Load(LoadBuffer stream)
    {
        if (!stream.Standing.IsOk)
            return stream.Standing;
        return stream.Content.Length == PdsAdminQueue.StateBytes
            ? device.Restore(stream.Content)
            : VfioResult.Fail(Errno.EINVAL, "The migration stream is shorter than the device's state; write the rest of it.");
    }
}
