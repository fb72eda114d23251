using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Xe;

/// <summary>
/// The primitive arcs of xe (contract §7.2), each a call of the PF's driver or none. A call that fails leaves the device where it was; a
/// request that is illegal stops it for good, until it is reset (VD-XE-2).
/// </summary>
internal sealed class XeArcs(XeCommands device) : IMigrationOps
{
    private bool isLetGo;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.P2P;

    public ArcResult Perform(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, RunningP2P) => device.Call(XeCall.Suspend),
        (RunningP2P, Running) => device.Call(XeCall.Resume),
        (RunningP2P, Stop) or (Stop, RunningP2P) => ArcResult.Done,
        (Stop, StopCopy) => Open(XeCall.EnterStopCopy),
        (StopCopy, Stop) => device.Call(XeCall.ExitStopCopy),
        (Stop, Resuming) => Open(XeCall.EnterResumeData),
        (Resuming, Stop) => device.Call(XeCall.ExitResumeData),
        _ => VfioResult.Fail(Errno.EINVAL, "xe has no such transition."),
    };

    /// <summary>What the PF's driver makes of it is its own; it cannot refuse this.</summary>
    public void Refused() => device.Call(XeCall.StopForGood);

    public VfioResult<ulong> GetDataSize() => device.GetStopCopySize();

    /// <summary>
    /// After a reset the device runs, whatever an arc that was under way then may have told its PF last (MG-34). What runs already is not resumed.
    /// </summary>
    public void Forget()
    {
        if (!isLetGo)
            device.Call(XeCall.Resume);
    }

    public void LetGo() => isLetGo = true;

    private ArcResult Open(XeCall call)
    {
        var entered = device.Call(call);
        return entered.IsOk ? ArcResult.Opens(new Stream(device)) : entered;
    }

    /// <summary>Either end: the PF's driver makes the packets, and checks them (VD-XE-1).</summary>
    private sealed class Stream(XeCommands device) : IMigrationData
    {
        private VfioResult standing;

        public VfioResult<int> Read(Span<byte> destination) => device.ReadData(destination);

        /// <summary>Errors: EINVAL for what is no packet in its place, ENODEV for another device's; the first stays.</summary>
        public VfioResult Write(ReadOnlySpan<byte> source)
        {
            if (standing.IsOk)
                standing = device.WriteData(source);
            return standing;
        }
    }
}
