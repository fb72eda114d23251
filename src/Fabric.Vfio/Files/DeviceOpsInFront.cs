using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>A variant driver's op set: what it does not override goes to the ops behind it, in the end the core's.</summary>
public abstract class DeviceOpsInFront(IDeviceOps next) : IDeviceOps
{
    protected IDeviceOps Next => next;

    public VfioPciCore Device => next.Device;

    public virtual MigrationMachine? Migration => next.Migration;

    public virtual DirtyLog? DirtyLog => next.DirtyLog;

    /// <summary>No variant driver of the kernel forwards these (IO-101).</summary>
    public virtual bool SupportsPasids => false;

    public virtual VfioResult Match(Guid? token) => next.Match(token);

    public virtual VfioResult OpenDevice(bool hasRawIo) => next.OpenDevice(hasRawIo);

    public virtual void CloseDevice() => next.CloseDevice();

    public virtual bool Resume() => next.Resume();

    public virtual void Suspend() => next.Suspend();

    public virtual VfioResult AttachIoas(IDmaSpace space) => next.AttachIoas(space);

    public virtual void DetachIoas() => next.DetachIoas();

    public virtual VfioResult<RegionInfo> GetRegionInfo(uint index) => next.GetRegionInfo(index);

    public virtual VfioResult<DeviceAnswer> Ioctl(DeviceCall call) => next.Ioctl(call);

    public virtual VfioResult<DeviceAnswer> Feature(DeviceCall.Feature call) => next.Feature(call);

    public virtual VfioResult<int> Read(int region, ulong offset, Span<byte> destination) => next.Read(region, offset, destination);

    public virtual VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source) => next.Write(region, offset, source);

    public virtual VfioResult<RegionMapping> Map(int region, ulong offset, ulong length, MapOptions options) =>
        next.Map(region, offset, length, options);
}

/// <summary>A driver that adds migration, a log of DMA, or both, and forwards everything else.</summary>
/// <param name="migration">Null where the driver does not migrate. The driver's declaration says so too, and tells of resets (LC-3).</param>
/// <param name="dirtyLog">Null where the driver does not log DMA.</param>
public sealed class MigratingDeviceOps(IDeviceOps next, MigrationMachine? migration, DirtyLog? dirtyLog = null) : DeviceOpsInFront(next)
{
    public override MigrationMachine? Migration => migration;

    public override DirtyLog? DirtyLog => dirtyLog;

    /// <summary>The log, the stream and the opt-ins end with the session (LC-30).</summary>
    public override void CloseDevice()
    {
        migration?.Close();
        dirtyLog?.Stop();
        base.CloseDevice();
    }
}

/// <summary>What a migrating driver is told of resets: any that worked makes it RUNNING, without a stream (MG-34). For its declaration.</summary>
public sealed class MigrationResets(MigrationMachine migration) : IResetObserver
{
    public void ResetPrepare()
    {
    }

    public void ResetDone(VfioResult outcome)
    {
        if (outcome.IsOk)
            migration.Reset();
    }
}
