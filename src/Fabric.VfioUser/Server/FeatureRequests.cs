using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Server;

/// <summary>DEVICE_FEATURE: migration, the log of DMA, and what a driver has of its own.</summary>
internal sealed class FeatureRequests(DeviceClient device, MigrationRequests migration, LoggingRequests logging)
{
    /// <summary>Of a driver's own feature, in either direction.</summary>
    private const int MostOwnBytes = 4096;

    /// <summary>Errors: EINVAL; ENOTTY for a feature that the device does not have, or not over a socket; and the feature's own.</summary>
    public async Task<VfioResult> UseAsync(Message request, Reply reply)
    {
        if (request.TakeBeginning<VfioDeviceFeature>(out var head) is { IsOk: false } wrong)
            return wrong;
        // Get and set go together in a probe (facts §8), which the check of the uAPI lets pass only one by one.
        var isProbe = (head.Ops & FeatureOps.Probe) != 0;
        var check = VfioDeviceFeature.Check(isProbe ? head with { Flags = head.Flags & ~(uint)(FeatureOps.Get | FeatureOps.Set) } : head);
        if (!check.IsOk)
            return check;
        if (!isProbe && (head.Ops & (FeatureOps.Get | FeatureOps.Set)) == 0)
            return VfioResult.Fail(Errno.EINVAL, "DEVICE_FEATURE: nothing is asked of the feature; set get, set or probe.");
        if (isProbe)
            return await ProbeAsync(head, request, reply).ConfigureAwait(false);
        return (head.Feature, head.Ops) switch
        {
            (DeviceFeature.Migration, FeatureOps.Get) => await migration.GetFlagsAsync(head, reply).ConfigureAwait(false),
            (DeviceFeature.MigDeviceState, FeatureOps.Get) => await migration.GetStateAsync(head, reply).ConfigureAwait(false),
            (DeviceFeature.MigDeviceState, FeatureOps.Set) => await migration.SetStateAsync(request, reply).ConfigureAwait(false),
            (DeviceFeature.MigDataSize, FeatureOps.Get) => await migration.GetSizeAsync(head, reply).ConfigureAwait(false),
            (DeviceFeature.DmaLoggingStart, FeatureOps.Set) => await logging.StartAsync(request, reply).ConfigureAwait(false),
            (DeviceFeature.DmaLoggingStop, FeatureOps.Set) => await logging.StopAsync(request, reply).ConfigureAwait(false),
            (DeviceFeature.DmaLoggingReport, FeatureOps.Get) => await logging.ReportAsync(head, request, reply).ConfigureAwait(false),
            var (feature, _) when FeatureTable.Find(feature) is not null => NotHere,
            _ => await UseOwnAsync(head, request, reply).ConfigureAwait(false),
        };
    }

    private async Task<VfioResult> ProbeAsync(VfioDeviceFeature head, Message request, Reply reply)
    {
        var found = head.Feature switch
        {
            DeviceFeature.Migration or DeviceFeature.MigDataSize => await migration.FindAsync(FeatureOps.Get).ConfigureAwait(false),
            DeviceFeature.MigDeviceState => await migration.FindAsync(FeatureOps.Get | FeatureOps.Set).ConfigureAwait(false),
            DeviceFeature.DmaLoggingStart or DeviceFeature.DmaLoggingStop => await logging.FindAsync(FeatureOps.Set).ConfigureAwait(false),
            DeviceFeature.DmaLoggingReport => await logging.FindAsync(FeatureOps.Get).ConfigureAwait(false),
            var feature when FeatureTable.Find(feature) is not null => NotHere,
            _ => await FindOwnAsync(head.Feature).ConfigureAwait(false),
        };
        if (!found.IsOk)
            return found.Error;
        if ((head.Ops & (FeatureOps.Get | FeatureOps.Set) & ~found.Value) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DEVICE_FEATURE: the feature does not have this operation.");
        reply.Echo(request);
        return VfioResult.Ok;
    }

    private async Task<VfioResult<FeatureOps>> FindOwnAsync(DeviceFeature feature)
    {
        var found = await device.FindFeatureAsync((ushort)feature).ConfigureAwait(false);
        if (!found.IsOk)
            return found.Error;
        return ((found.Value & FeatureOperations.Get) != 0 ? FeatureOps.Get : FeatureOps.None)
            | ((found.Value & FeatureOperations.Set) != 0 ? FeatureOps.Set : FeatureOps.None);
    }

    private async Task<VfioResult> UseOwnAsync(VfioDeviceFeature head, Message request, Reply reply)
    {
        var data = request.After<VfioDeviceFeature>();
        if (data.Length > MostOwnBytes)
            return Refused.Length;
        var operation = head.Ops == FeatureOps.Get ? FeatureOperations.Get : FeatureOperations.Set;
        var used = await device.UseFeatureAsync((ushort)head.Feature, operation, data).ConfigureAwait(false);
        if (!used.IsOk)
            return used.Error;
        if (operation == FeatureOperations.Set)
        {
            reply.Echo(request);
            return VfioResult.Ok;
        }

        var size = VfioDeviceFeature.WireSize + used.Value.Length;
        if (head.Argsz < (uint)size)
            return Refused.Argsz;
        reply.Put(head with { Argsz = (uint)size }, used.Value.Span);
        return VfioResult.Ok;
    }

    private static VfioError NotHere => new(Errno.ENOTTY, "DEVICE_FEATURE: this feature is not had over a socket.");
}
