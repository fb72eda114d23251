using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Drivers;

/// <summary>What a driver adds to the device that its user sees, or takes from it: regions, capabilities, features.</summary>
public abstract partial class VariantDriver
{
    private Additions? added;

    /// <summary>By itself, so that a driver that adds nothing, as most of very many are, carries nothing of it.</summary>
    private sealed class Additions
    {
        public List<IDeviceRegion>? Regions { get; set; }

        public List<InfoCapability>? Capabilities { get; set; }

        public Action<DeviceRequest>? Observer { get; set; }

        public Dictionary<Type, Func<DeviceRequest, DeviceReply, DeviceReply>> ReplyChanges { get; } = [];
    }

    private Additions Added => added ??= new Additions();

    private List<IDeviceRegion>? Regions => added?.Regions;

    private List<InfoCapability>? Capabilities => added?.Capabilities;

    /// <summary>A region that the user has not: GET_REGION_INFO shows it empty, everything else at it is EINVAL.</summary>
    protected void HideRegion(int index)
    {
        On<GetRegionInfo>(info => info.Index == index, info => Reply(new RegionInfoRead(new RegionInfo(index, RegionFlags.None, 0))));
        On<ReadRegion>(read => read.Region == index, _ => Reply(Hidden));
        On<WriteRegion>(write => write.Region == index, _ => Reply(Hidden));
        On<MapRegion>(map => map.Region == index, _ => Reply(Hidden));
    }

    /// <summary>Adds a region after those that there are, index 9 and above (contract §2.3). It is not mapped.</summary>
    protected void AddRegion(IDeviceRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        if (Regions is null)
        {
            Added.Regions = [];
            ExtendDeviceInfo();
            On<GetRegionInfo>(static info => info.Index >= RegionIndex.Count, info => AtOwnRegion(
                info.Session, info.Index, own => Reply(new RegionInfoRead(own.Describe(info.Index)))));
            On<ReadRegion>(static read => read.Region >= RegionIndex.Count, read => AtOwnRegion(read.Session, read.Region, own => ReadFrom(own, read)));
            On<WriteRegion>(static write => write.Region >= RegionIndex.Count, write => AtOwnRegion(
                write.Session, write.Region, own => Reply(own.Write(write.Offset, write.Data.Span), static length => new RegionWritten(length))));
            On<MapRegion>(static map => map.Region >= RegionIndex.Count, map => AtOwnRegion(map.Session, map.Region, _ => Reply(NotMappable)));
        }

        Added.Regions!.Add(region);
    }

    /// <summary>Adds a capability to what GET_INFO tells (IO-10).</summary>
    protected void AddInfoCapability(InfoCapability capability)
    {
        ArgumentNullException.ThrowIfNull(capability);
        if (Capabilities is null)
        {
            Added.Capabilities = [];
            ExtendDeviceInfo();
        }

        Added.Capabilities!.Add(capability);
    }

    /// <summary>Adds a feature that the core has not (IO-80): it is found by its number, and used.</summary>
    /// <param name="use">What GET or SET does. Its payload is the answer's, empty after a SET.</param>
    protected void AddFeature(ushort number, FeatureOperations operations, Func<UseFeature, VfioResult<ReadOnlyMemory<byte>>> use)
    {
        On<FindFeature>(find => (int)find.Feature == number, _ => Reply(new FeatureFound(operations)));
        On<UseFeature>(
            asked => asked.Feature == number,
            asked => WithSession(asked.Session, _ =>
            {
                if ((operations & asked.Operation) == FeatureOperations.None)
                    Reply(VfioResult.Fail(Errno.EINVAL, "The feature does not have this operation; probe with get or set first."));
                else
                    Reply(use(asked), static payload => new FeatureUsed(payload));
            }));
    }

    private void ExtendDeviceInfo()
    {
        // Once for both: what is added is read when it is asked.
        if (Regions is not null && Capabilities is not null)
            return;
        RewriteReply<GetDeviceInfo, DeviceInfoRead>((_, read) => new DeviceInfoRead(read.Info with
        {
            Regions = read.Info.Regions + (Regions?.Count ?? 0),
            Flags = read.Info.Flags | (Capabilities is null ? 0 : DeviceFlags.Caps),
            Caps = read.Info.Caps.IsDefault ? [.. Capabilities ?? []] : [.. read.Info.Caps, .. Capabilities ?? []],
        }));
    }

    /// <summary>
    /// Runs what is for a region of the driver's own, whose indices come after those of what stands behind it; another's is given on.
    /// </summary>
    private void AtOwnRegion(SessionId session, int index, Action<IDeviceRegion> then) => WithSession(session, behind =>
    {
        if (index < behind.Regions || index >= behind.Regions + Regions!.Count)
            Forward();
        else
            then(Regions[index - behind.Regions]);
    });

    /// <summary>Runs what the core has no part in: it is asked all the same whether there is such a session.</summary>
    private void WithSession(SessionId session, Action<DeviceInfo> then) => AskCore(new GetDeviceInfo(session), reply =>
    {
        if (reply is DeviceInfoRead read)
            then(read.Info);
        else
            Reply(reply);
    });

    private void ReadFrom(IDeviceRegion region, ReadRegion read)
    {
        if (read.Length is < 0 or > DeviceLimits.MaxTransfer)
        {
            Reply(VfioResult.Fail(Errno.EINVAL, "One access carries at most 1 MiB; split it."));
            return;
        }

        var buffer = new byte[read.Length];
        Reply(region.Read(read.Offset, buffer), length => new RegionRead(buffer.AsMemory(0, length)));
    }

    private void ReleaseRegions()
    {
        foreach (var region in Regions ?? [])
            region.Release();
    }

    private static VfioResult Hidden =>
        VfioResult.Fail(Errno.EINVAL, "This region is the host driver's; GET_REGION_INFO shows it empty.");

    private static VfioResult NotMappable =>
        VfioResult.Fail(Errno.EINVAL, "This region is not mapped; read and write it.");
}
