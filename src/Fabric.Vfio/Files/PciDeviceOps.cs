using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>The op set of plain vfio-pci: the core itself, nothing in front of it.</summary>
public sealed class PciDeviceOps(VfioPciCore core) : IDeviceOps
{
    public VfioPciCore Device => core;

    public bool SupportsPasids => true;

    public VfioResult Match(Guid? token) => core.Match(token);

    public VfioResult OpenDevice(bool hasRawIo) => core.Open(hasRawIo);

    public void CloseDevice() => core.Close();

    public bool Resume() => core.TryWake();

    public void Suspend() => core.MaySleep();

    public VfioResult AttachIoas(IDmaSpace space) => core.IsResetting
        ? VfioResult.Fail(Errno.EBUSY, "The device is being reset, and is attached to nothing until that is done; try again.")
        : core.AttachDma(space);

    public void DetachIoas() => core.AttachDma(null);

    public VfioResult<RegionInfo> GetRegionInfo(uint index) => core.GetRegionInfo((int)index);

    public VfioResult<DeviceAnswer> Ioctl(DeviceCall call) => call switch
    {
        DeviceCall.GetInfo => Wrap(core.GetInfo(), static info => new DeviceAnswer.Info(info)),
        DeviceCall.GetIrqInfo asked => Wrap(core.GetIrqInfo((int)asked.Index), static info => new DeviceAnswer.Irq(info)),
        DeviceCall.SetIrqs asked => SetIrqs(asked),
        DeviceCall.Reset => Done(core.Reset()),
        DeviceCall.GetHotResetInfo asked => Wrap(core.GetHotResetInfo(asked.Caller), static info => new DeviceAnswer.HotReset(info)),
        DeviceCall.HotReset asked => Done(core.HotReset(asked.Caller)),
        DeviceCall.SetIoEventFd asked => Done(core.SetIoEventFd(asked.Write, asked.Eventfd)),
        _ => new VfioError(Errno.ENOTTY, "The device has no such ioctl."),
    };

    public VfioResult<DeviceAnswer> Feature(DeviceCall.Feature call)
    {
        ArgumentNullException.ThrowIfNull(call);
        var found = core.FindFeature((CoreFeature)call.Head.Feature);
        if (!found.IsOk)
            return found.Error;
        var plan = call.Head.Plan(FeatureTable.Find(call.Head.Feature));
        if (!plan.IsOk)
            return plan.Error;
        if (plan.Value == FeatureAction.Probe)
            return DeviceAnswer.Done.Instance;
        if (!call.Data.IsOk)
            return call.Data.Error;
        return call.Data.Value switch
        {
            FeatureData.Token data => Done(core.SetVfToken(data.Uuid)),
            FeatureData.WakeUp data => EnterLowPower(data.Eventfd),
            FeatureData.DmaBuf data => ExportDmaBuf(data),
            _ => call.Head.Feature == DeviceFeature.LowPowerEntry ? Done(core.EnterLowPower()) : Done(core.ExitLowPower()),
        };
    }

    public VfioResult<int> Read(int region, ulong offset, Span<byte> destination) => core.Read(region, offset, destination);

    public VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source) => core.Write(region, offset, source);

    public VfioResult<RegionMapping> Map(int region, ulong offset, ulong length, MapOptions options) => core.Map(region, offset, length, options);

    private VfioResult<DeviceAnswer> SetIrqs(DeviceCall.SetIrqs asked)
    {
        var done = core.SetIrqs(asked.Request);
        if (done.IsDone)
            return DeviceAnswer.Done.Instance;
        return done.Available > 0 ? new DeviceAnswer.Done(done.Available) : done.Error;
    }

    private VfioResult<DeviceAnswer> EnterLowPower(EventRef wake)
    {
        var wrong = wake.Resolve(out var target);
        return wrong.Errno != Errno.None ? wrong : Done(core.EnterLowPower(target));
    }

    private VfioResult<DeviceAnswer> ExportDmaBuf(FeatureData.DmaBuf data)
    {
        var ranges = data.Ranges.IsDefault ? [] : data.Ranges;
        return Wrap(core.GetDmaBuf((int)data.Region, data.Flags, ranges.AsSpan(), data.Fault), static buffer => new DeviceAnswer.Exported(buffer));
    }

    private static VfioResult<DeviceAnswer> Done(VfioResult result) => result.IsOk ? DeviceAnswer.Done.Instance : result.Error;

    private static VfioResult<DeviceAnswer> Wrap<T>(VfioResult<T> result, Func<T, DeviceAnswer> answer) =>
        result.IsOk ? answer(result.Value) : result.Error;
}
