using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Mbochs;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Displays;

/// <summary>
/// The Bochs display: the BAR of its monitor is the host's, and is shown to the user as the EDID region (contract §8.4). Planes as DMA buffers
/// (QUERY_GFX_PLANE, GET_GFX_DMABUF) it has not. Everything else falls through to the core.
/// </summary>
public sealed class MbochsDriver : DisplayDriver
{
    /// <summary>Type GFX, subtype EDID.</summary>
    private static readonly RegionInfo Edid = new(
        MbochsRegion.Edid, RegionFlags.Read | RegionFlags.Write | RegionFlags.Caps, MbochsEdid.Bytes, [new RegionCapability.OfType(1, 1)]);

    public MbochsDriver(DriverContext context)
        : base(context)
    {
        HideRegion(MbochsRegion.Monitor);
        RewriteReply<GetDeviceInfo, DeviceInfoRead>(static (_, read) => new DeviceInfoRead(read.Info with { Regions = MbochsRegion.Edid + 1 }));
        On<GetRegionInfo>(static info => info.Index == MbochsRegion.Edid, _ => Reply(new RegionInfoRead(Edid)));
        On<ReadRegion>(static read => read.Region == MbochsRegion.Edid, read => Forward(read with { Region = MbochsRegion.Monitor }));
        On<WriteRegion>(static write => write.Region == MbochsRegion.Edid, write => Forward(write with { Region = MbochsRegion.Monitor }));
        On<MapRegion>(
            static map => map.Region == MbochsRegion.Edid,
            _ => Reply(VfioResult.Fail(Errno.EINVAL, "The EDID region is not mapped; read and write it.")));
    }

    public static DriverRegistration Registration { get; } =
        new("mbochs", new PciIds(MbochsIds.Vendor, MbochsIds.Device), null, context => Props.Create(() => new MbochsDriver(context))) { Migrates = false };
}
