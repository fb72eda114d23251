using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Acme.Accel;

/// <summary>
/// Stands in front of the emulated accelerator's driver: counts opens, has an ioctl of its own that tells them, and has no IOEVENTFD. All else goes
/// through untouched. For hardware of your own put its ids into <c>Match</c>, and take <c>InFrontOf</c> and <c>Priority</c> away.
/// </summary>
[PciDriver("acme-accel", Match = "1b36:fab1", InFrontOf = "accelerator", Priority = 10)]
public sealed class AcmeDriver : VariantDriver, IDriverProbe
{
    /// <summary>ioctl: how often the device was opened, 4 bytes, little-endian.</summary>
    public const uint GetOpens = 0xac01;

    private int opens;

    public AcmeDriver(DriverContext context)
        : base(context)
    {
        Observe<OpenDevice>(_ => opens++);
        On<DeviceIoctl>(ioctl => ioctl.Number == GetOpens, TellOpens);
        Hide<SetIoEventFd>("This device has no IOEVENTFD; write to its BAR.");
    }

    /// <summary>Physical functions are left to others, whatever their ids.</summary>
    public static VfioResult Probe(DriverContext context) => context.Ids.Device == 0xfab0
        ? VfioResult.Fail(Errno.ENODEV, "This is the physical function; the driver is for virtual ones.")
        : VfioResult.Ok;

    protected override ImmutableArray<InspectNode> InspectOwn() => [InspectNode.Leaf("opens", opens)];

    private void TellOpens(DeviceIoctl ioctl)
    {
        var argument = new byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(argument, opens);
        Reply(new DeviceIoctlDone(0, argument));
    }
}
