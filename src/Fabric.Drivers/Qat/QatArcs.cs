using Fabric.Hardware.Specs.Qat;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Qat;

/// <summary>
/// The VF's primitive arcs (contract §7.2). It cannot stop to start DMA alone, so that it is suspended in the P2P states already; what a guest
/// submits there waits, and migrates (VD-QAT-3). In pre-copy goes the set-up, which the target checks as it comes (VD-QAT-2).
/// </summary>
internal sealed class QatArcs(QatCommands device) : IMigrationOps
{
    private SaveBuffer? saving;
    private LoadBuffer? loading;
    private bool isLetGo;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    public ArcResult Perform(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) or (PreCopy, PreCopyP2P) => device.Suspend(),
        (RunningP2P, Running) or (PreCopyP2P, PreCopy) => device.Resume(),
        (RunningP2P, Stop) or (Stop, RunningP2P) => ArcResult.Done,
        (Running, PreCopy) or (RunningP2P, PreCopyP2P) => Open(device.SaveSetup()),
        (Stop, StopCopy) => Open(device.SaveState()),
        (PreCopyP2P, StopCopy) => Append(saving!),
        (PreCopy, Running) or (PreCopyP2P, RunningP2P) or (StopCopy, Stop) => ArcResult.Done,
        (Stop, Resuming) => ArcResult.Opens(loading = new LoadBuffer(QatMigration.StateBytes, CheckSetup)),
        (Resuming, Stop) => Load(loading!),
        _ => VfioResult.Fail(Errno.EINVAL, "The VF has no such transition."),
    };

    /// <summary>Always the same (VD-QAT-2).</summary>
    public VfioResult<ulong> GetDataSize() => QatMigration.StateBytes;

    /// <summary>
    /// The PF's driver forgets what it saved or loaded, and the VF runs, whatever an arc that was under way then may have told it last (MG-34).
    /// </summary>
    public void Forget()
    {
        (saving, loading) = (null, null);
        if (!isLetGo)
            device.Reset();
    }

    public void LetGo() => isLetGo = true;

    private ArcResult Open(VfioResult<ReadOnlyMemory<byte>> saved)
    {
        if (!saved.IsOk)
            return ArcResult.Fails(saved.Error);
        saving = new SaveBuffer(QatMigration.StateBytes);
        var appended = saving.Append(saved.Value.Span);
        saving.EndStartUpSet();
        return appended.IsOk ? ArcResult.Opens(saving) : appended;
    }

    /// <summary>What follows the set-up, which must be what went ahead.</summary>
    private ArcResult Append(SaveBuffer stream)
    {
        var saved = device.SaveState();
        if (!saved.IsOk)
            return ArcResult.Fails(saved.Error);
        var (setup, state) = (saved.Value[..QatMigration.SetupBytes], saved.Value[QatMigration.SetupBytes..]);
        return stream.Content.SequenceEqual(setup.Span)
            ? stream.Append(state.Span)
            : VfioResult.Fail(Errno.EBUSY, "The PF was configured anew during pre-copy; go back to RUNNING, and start the migration again.");
    }

    /// <summary>A set-up that is not complete is no error.</summary>
    private VfioResult CheckSetup(ReadOnlySpan<byte> content, int before)
    {
        if (before >= QatMigration.SetupBytes)
            return VfioResult.Ok;
        var loaded = device.LoadSetup(content);
        return loaded.Error.Errno == Errno.EAGAIN ? VfioResult.Ok : loaded;
    }

    /// <summary>Errors: what a write was refused with; EINVAL for less than a state, which may be gone on with, and for one that is none.</summary>
    private ArcResult Load(LoadBuffer stream)
    {
        if (!stream.Standing.IsOk)
            return stream.Standing;
        return stream.Content.Length == QatMigration.StateBytes
            ? device.LoadState(stream.Content)
            : VfioResult.Fail(Errno.EINVAL, "The migration stream is shorter than the device's state; write the rest of it.");
    }
}
