using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Mdpy;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Displays;

/// <summary>
/// The framebuffer: BAR 0 is also the display region, and QUERY_GFX_PLANE says what is in it, in its region flavour (contract §8.4). Everything
/// else falls through to the core.
/// </summary>
public sealed class MdpyDriver : DisplayDriver
{
    /// <summary>Up to and with region_index: a caller lends no less.</summary>
    private const int PlaneBytes = 60;

    public MdpyDriver(DriverContext context)
        : base(context)
    {
        On<GetRegionInfo>(
            static info => info.Index == MdpyRegion.Display, info => AskCore(info with { Index = MdpyRegion.Framebuffer }, ReplyOfDisplay));
        On<ReadRegion>(static read => read.Region == MdpyRegion.Display, read => Forward(read with { Region = MdpyRegion.Framebuffer }));
        On<WriteRegion>(static write => write.Region == MdpyRegion.Display, write => Forward(write with { Region = MdpyRegion.Framebuffer }));
        On<MapRegion>(static map => map.Region == MdpyRegion.Display, map => Forward(map with { Region = MdpyRegion.Framebuffer }));
        On<DeviceIoctl>(static ioctl => ioctl.Number == DeviceIoctls.QueryGfxPlane, QueryPlane);
    }

    public static DriverRegistration Registration { get; } =
        new("mdpy", new PciIds(MdpyIds.Vendor, MdpyIds.Device), null, context => Props.Create(() => new MdpyDriver(context))) { Migrates = false };

    private void ReplyOfDisplay(DeviceReply reply) =>
        Reply(reply is RegionInfoRead read ? new RegionInfoRead(read.Info with { Index = MdpyRegion.Display }) : reply);

    private void QueryPlane(DeviceIoctl ioctl)
    {
        var asked = VfioDeviceGfxPlaneInfo.Decode(ioctl.Argument.Span);
        if (!asked.IsOk)
            Reply(new DeviceFailed(asked.Error));
        else if (asked.Value.Argsz < PlaneBytes)
            Reply(VfioResult.Fail(Errno.EINVAL, "The structure ends before region_index; lend all of it."));
        else if (asked.Value.Flags == (GfxPlane.Probe | GfxPlane.Region))
            Reply(new DeviceIoctlDone(0, ioctl.Argument));
        else if (asked.Value.Flags != GfxPlane.Region)
            Reply(VfioResult.Fail(Errno.EINVAL, "This display is shown by a region; ask for the region flavour."));
        else
            AskCore(new ReadRegion(ioctl.Session, RegionIndex.Config, MdpyCapability.Format, 12), reply => Reply(
                reply is RegionRead { Data: { Length: 12 } what } ? Plane(ioctl, asked.Value, what.Span) : reply));
    }

    private static DeviceReply Plane(DeviceIoctl ioctl, VfioDeviceGfxPlaneInfo asked, ReadOnlySpan<byte> what)
    {
        var (width, height) = (BinaryPrimitives.ReadUInt32LittleEndian(what[4..]), BinaryPrimitives.ReadUInt32LittleEndian(what[8..]));
        var plane = new VfioDeviceGfxPlaneInfo(asked.Argsz, asked.Flags, asked.DrmPlaneType, BinaryPrimitives.ReadUInt32LittleEndian(what), 0,
            width, height, width * MdpyCapability.BytesPerPixel, MdpyCapability.BytesOf(width, height), 0, 0, 0, 0, MdpyRegion.Display, 0);
        var answer = ioctl.Argument.ToArray();
        var encoded = plane.EncodeReply(answer, asked.Argsz);
        return encoded.IsOk ? new DeviceIoctlDone(0, answer) : new DeviceFailed(encoded.Error);
    }
}
