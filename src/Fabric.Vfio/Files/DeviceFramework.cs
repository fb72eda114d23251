using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// What stands between a device's file and its driver (IO-2, IO-3, IO-82): wakes the device, answers what is the framework's own from the
/// driver's tables, and passes on everything else.
/// </summary>
public static class DeviceFramework
{
    /// <summary>
    /// Answers a call on a device that its caller has access to. Errors, in this order: EIO where the device does not wake, those that the call
    /// carries, and the driver's.
    /// </summary>
    public static VfioResult<DeviceAnswer> Answer(IDeviceOps ops, DeviceCall call)
    {
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentNullException.ThrowIfNull(call);
        if (!ops.Resume())
            return new VfioError(Errno.EIO, "The device does not wake from low power.");
        try
        {
            return call switch
            {
                DeviceCall.Malformed malformed => malformed.Error,
                DeviceCall.Attach attach => Attach(ops, attach),
                DeviceCall.Detach detach => Detach(ops, detach),
                DeviceCall.Feature feature => Feature(ops, feature),
                DeviceCall.GetRegionInfo asked => Region(ops.GetRegionInfo(asked.Index)),
                _ => ops.Ioctl(call),
            };
        }
        finally
        {
            ops.Suspend();
        }
    }

    private static VfioResult<DeviceAnswer> Region(VfioResult<RegionInfo> info) => info.IsOk ? new DeviceAnswer.Region(info.Value) : info.Error;

    // ---- ATTACH and DETACH (IO-101, IO-102) ------------------------------------------------------------------------------------------

    private static VfioResult<DeviceAnswer> Attach(IDeviceOps ops, DeviceCall.Attach call)
    {
        if (Refusal(ops, call.Pasid) is { Errno: not Errno.None } refused)
            return refused;
        var attached = call.Pasid == PasidUse.None ? call.Device.Attach(call.PtId) : call.Device.AttachPasid(call.PtId);
        return attached.IsOk ? new DeviceAnswer.Attached(attached.Value, call.Device) : attached.Error;
    }

    private static VfioResult<DeviceAnswer> Detach(IDeviceOps ops, DeviceCall.Detach call)
    {
        if (Refusal(ops, call.Pasid) is { Errno: not Errno.None } refused)
            return refused;
        if (call.Pasid == PasidUse.None)
            call.Device.Detach();
        return DeviceAnswer.Done.Instance;
    }

    private static VfioError Refusal(IDeviceOps ops, PasidUse pasid) => pasid switch
    {
        PasidUse.None => default,
        _ when !ops.SupportsPasids => new VfioError(Errno.EOPNOTSUPP, "The device's driver does not support PASIDs; leave the flag out."),
        PasidUse.NotCovered => new VfioError(Errno.EINVAL, "The PASID flag is set, but argsz does not cover the PASID."),
        PasidUse.Unreadable => UserMemory.Fault,
        _ => default,
    };

    // ---- Features that are answered before the driver is asked (IO-82) ---------------------------------------------------------------

    private static VfioResult<DeviceAnswer> Feature(IDeviceOps ops, DeviceCall.Feature call)
    {
        var feature = (int)call.Head.Feature;
        if (!MigrationFeatures.AnswersTo(feature))
            return ops.Feature(call);
        if (MigrationFeatures.Find(feature, ops.Migration, ops.DirtyLog) is { IsOk: false } missing)
            return missing.Error;
        var plan = call.Head.Plan(FeatureTable.Find(call.Head.Feature));
        if (!plan.IsOk)
            return plan.Error;
        if (plan.Value == FeatureAction.Probe)
            return DeviceAnswer.Done.Instance;
        if (!call.Data.IsOk)
            return call.Data.Error;
        return call.Head.Feature switch
        {
            DeviceFeature.Migration => new DeviceAnswer.Flags(ops.Migration!.Flags),
            DeviceFeature.MigDataSize => DataSize(ops.Migration!),
            DeviceFeature.MigPrecopyInfoV2 => Done(ops.Migration!.OptIntoPrecopyInfoV2()),
            DeviceFeature.DmaLoggingStop => Done(ops.DirtyLog!.Stop()),
            _ => Feature(ops, plan.Value, call.Data.Value),
        };
    }

    private static VfioResult<DeviceAnswer> Feature(IDeviceOps ops, FeatureAction action, FeatureData data) => data switch
    {
        FeatureData.State when action == FeatureAction.Get => new DeviceAnswer.State(new MigrationDeviceState(ops.Migration!.State, null)),
        FeatureData.State asked => SetState(ops.Migration!, asked.Target),
        FeatureData.LoggingStart asked => Start(ops.DirtyLog!, asked),
        FeatureData.LoggingReport asked => Report(ops.DirtyLog!, asked.Report),
        _ => new VfioError(Errno.EINVAL, "The feature came without its payload."),
    };

    /// <summary>A transition that failed is answered too, with what was asked for and no stream (IO-83).</summary>
    private static VfioResult<DeviceAnswer> SetState(MigrationMachine migration, MigrationState target)
    {
        var set = migration.Set(target);
        return set switch
        {
            { IsOk: true, Value.ContinuesAfter: null } => new DeviceAnswer.State(set.Value),
            { IsOk: true } => new DeviceAnswer.State(new MigrationDeviceState(target, null), OnItsWay),
            _ => new DeviceAnswer.State(new MigrationDeviceState(target, null), set.Error),
        };
    }

    /// <summary>Where the kernel's call would sleep: there is no clock here to wait by.</summary>
    private static VfioError OnItsWay => new(Errno.EAGAIN, "The device is on its way to that state; ask for it again until it is there.");

    private static VfioResult<DeviceAnswer> DataSize(MigrationMachine migration)
    {
        var size = migration.GetDataSize();
        return size.IsOk ? new DeviceAnswer.DataSize(size.Value) : size.Error;
    }

    private static VfioResult<DeviceAnswer> Start(DirtyLog log, FeatureData.LoggingStart asked)
    {
        var started = log.Start(asked.Control.PageSize, asked.Ranges.AsSpan());
        return started.IsOk ? new DeviceAnswer.LoggingStarted(asked.Control with { PageSize = started.Value }) : started.Error;
    }

    private static VfioResult<DeviceAnswer> Report(DirtyLog log, VfioDeviceFeatureDmaLoggingReport asked)
    {
        var dirty = new DirtyRuns();
        var reported = log.Report(asked.Iova, asked.Length, asked.PageSize, dirty);
        return reported.IsOk
            ? new DeviceAnswer.Dirtied(asked, dirty.Within(new IovaRange(asked.Iova, asked.Iova + (asked.Length - 1))))
            : reported.Error;
    }

    private static VfioResult<DeviceAnswer> Done(VfioResult result) => result.IsOk ? DeviceAnswer.Done.Instance : result.Error;

    /// <summary>Dirt as ranges: as much memory as there is dirt, however long the range is that was asked for.</summary>
    private sealed class DirtyRuns : IDirtyPages
    {
        private readonly List<IovaRange> runs = [];

        public void Mark(ulong iova, ulong length)
        {
            if (length == 0)
                return;
            var marked = new IovaRange(iova, length - 1 > ulong.MaxValue - iova ? ulong.MaxValue : iova + (length - 1));
            if (runs.Count > 0 && runs[^1].Last != ulong.MaxValue && runs[^1].Last + 1 == marked.First)
                runs[^1] = runs[^1] with { Last = marked.Last };
            else
                runs.Add(marked);
        }

        public IReadOnlyList<IovaRange> Within(IovaRange asked) => IovaRange.Merge(
            runs.Where(asked.Overlaps).Select(run => new IovaRange(Math.Max(run.First, asked.First), Math.Min(run.Last, asked.Last))), int.MaxValue);
    }
}
