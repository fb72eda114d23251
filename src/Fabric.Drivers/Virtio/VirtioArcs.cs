using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// A virtio VF's primitive arcs (contract §7.2): into the P2P states it stops, and out of them it goes on. A command that fails leaves it in the
/// state that it was in (MG-33).
/// </summary>
internal sealed class VirtioArcs(VirtioCommands device, TimeProvider time) : IMigrationOps
{
    private VirtioSaveStream? saving;
    private VirtioLoadStream? loading;
    private bool isStopped;
    private bool isReleased;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    public ArcResult Perform(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) or (PreCopy, PreCopyP2P) => SetMode(stopped: true),
        (RunningP2P, Running) or (PreCopyP2P, PreCopy) => SetMode(stopped: false),
        (RunningP2P, Stop) or (Stop, RunningP2P) => ArcResult.Done,
        (Stop, StopCopy) => Save(isLast: true),
        (Running, PreCopy) or (RunningP2P, PreCopyP2P) => Save(isLast: false),
        (PreCopyP2P, StopCopy) => saving!.Finish(),
        (PreCopy, Running) or (PreCopyP2P, RunningP2P) or (StopCopy, Stop) => LeaveSaving(),
        (Stop, Resuming) => Load(),
        (Resuming, Stop) => loading!.Finish(),
        _ => VfioResult.Fail(Errno.EINVAL, "A virtio device has no such transition."),
    };

    public VfioResult<ulong> GetDataSize()
    {
        if (saving is null)
        {
            var created = device.Create(VirtioObjectFor.Getting);
            if (!created.IsOk)
                return created.Error;
        }

        var size = device.GetSize();
        if (saving is null)
            device.Destroy(VirtioObjectFor.Getting);
        const int around = (2 * VirtioStreamFormat.HeaderBytes) + VirtioStreamFormat.EndBytes;
        return size.IsOk ? (ulong)(size.Value + around) : size.Error;
    }

    /// <summary>
    /// After a reset the device runs, whatever an arc that was under way then may have told it last (MG-34). A PF that does not answer is found
    /// at the next arc.
    /// </summary>
    public void Forget()
    {
        (saving, loading) = (null, null);
        if (isStopped && !isReleased)
            SetMode(stopped: false);
        isStopped = false;
    }

    public void LetGo() => isReleased = true;

    private VfioResult SetMode(bool stopped)
    {
        var set = device.SetMode(stopped);
        if (set.IsOk)
            isStopped = stopped;
        return set;
    }

    private ArcResult Save(bool isLast)
    {
        var opened = VirtioSaveStream.Open(device, time);
        if (!opened.IsOk)
            return (VfioResult)opened.Error;
        var begun = isLast ? opened.Value.Finish() : opened.Value.Begin();
        if (begun.IsOk)
            return ArcResult.Opens(saving = opened.Value);
        opened.Value.Close();
        return begun;
    }

    /// <summary>Its stream ends with it, and takes the stream's object with it (MG-21).</summary>
    private ArcResult LeaveSaving()
    {
        saving = null;
        return ArcResult.Done;
    }

    private ArcResult Load()
    {
        var opened = VirtioLoadStream.Open(device);
        return opened.IsOk ? ArcResult.Opens(loading = opened.Value) : (VfioResult)opened.Error;
    }
}
