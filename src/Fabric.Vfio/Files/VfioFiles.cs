using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Fabric.Pci;
using Fabric.Vfio.Core;

namespace Fabric.Vfio.Files;

/// <summary>
/// The files of one host: what its nodes under /dev give to who opens them. Groups and cdevs are those of the devices that are registered, and
/// exclude each other (LC-13). One caller at a time across all of them.
/// </summary>
/// <param name="driver">The op set of a device, where something stands in front of the core; asked once a registration.</param>
public sealed class VfioFiles(VfioPciDevices devices, Func<VfioPciCore, IDeviceOps>? driver = null)
{
    private readonly ConditionalWeakTable<VfioPciCore, IDeviceOps> ops = [];
    private readonly ConditionalWeakTable<VfioPciCore, IommuGroup> withoutIommu = [];
    private readonly SortedDictionary<int, IommuGroup> groups = [];
    private readonly Dictionary<PciAddress, IommufdDevice> throughGroups = [];

    /// <summary>A group, to say what the host itself does with it, and to see how it is open.</summary>
    public IommuGroup GroupOf(int number)
    {
        if (!groups.TryGetValue(number, out var group))
            groups[number] = group = new IommuGroup(number);
        return group;
    }

    /// <summary>/dev/vfio/vfio.</summary>
    public static ContainerFile OpenContainer() => new();

    /// <summary>/dev/iommu.</summary>
    public static IommufdFile OpenIommufd() => new();

    /// <summary>/dev/vfio/N. Errors: ENODEV where no device of the group is vfio's, EBUSY (LC-13).</summary>
    /// <param name="hasRawIo">The opener has CAP_SYS_RAWIO.</param>
    public VfioResult<GroupFile> OpenGroup(int number, bool hasRawIo = true) =>
        devices.Devices.Any(device => device.IommuGroup == number) ? Open(GroupOf(number), hasRawIo) : NoDevice;

    /// <summary>/dev/vfio/noiommu-N, of a device without an IOMMU (LC-5). Errors: ENODEV where there is none, EPERM, EBUSY (LC-13).</summary>
    public VfioResult<GroupFile> OpenNoIommuGroup(PciAddress address, bool hasRawIo)
    {
        if (!devices.TryFind(address, out var device) || device.IommuGroup is not null)
            return NoDevice;
        return hasRawIo ? Open(GroupOf(device), hasRawIo) : new VfioError(Errno.EPERM, "A group without an IOMMU takes CAP_SYS_RAWIO.");
    }

    /// <summary>/dev/vfio/devices/vfioN, of a device. Errors: ENODEV where it is not registered, or on its way out (LC-14).</summary>
    public VfioResult<CdevFile> OpenCdev(PciAddress address, bool hasRawIo = true) =>
        devices.TryFind(address, out var device) ? new CdevFile(OpsOf(device), GroupOf(device), hasRawIo) : NoDevice;

    /// <summary>The laws that do not hold, of all groups and all devices; empty when all is well.</summary>
    public ImmutableArray<string> CheckInvariants() =>
        [.. groups.Values.SelectMany(static group => group.CheckInvariants()), .. devices.Devices.SelectMany(Check)];

    internal IEnumerable<VfioPciCore> DevicesOf(IommuGroup group) => devices.Devices.Where(device => ReferenceEquals(GroupOf(device), group));

    internal IDeviceOps OpsOf(VfioPciCore device) => ops.GetValue(device, core => driver?.Invoke(core) ?? new PciDeviceOps(core));

    /// <summary>The first open of a device through its group (LC-12, LC-15).</summary>
    internal VfioResult FirstOpen(IDeviceOps device, GroupFile group)
    {
        var opened = group.FirstOpen(device, out var bound);
        if (opened.IsOk && bound is not null)
            throughGroups[device.Device.Address] = bound;
        return opened;
    }

    internal void LastClose(IDeviceOps device)
    {
        device.CloseDevice();
        if (throughGroups.Remove(device.Device.Address, out var bound))
            bound.Unbind();
    }

    private static VfioResult<GroupFile> Open(GroupFile file)
    {
        var opened = file.Group.Open();
        return opened.IsOk ? file : opened.Error;
    }

    private VfioResult<GroupFile> Open(IommuGroup group, bool hasRawIo) => Open(new GroupFile(this, group, hasRawIo));

    private IommuGroup GroupOf(VfioPciCore device) =>
        device.IommuGroup is { } number ? GroupOf(number) : withoutIommu.GetValue(device, static _ => new IommuGroup(null));

    /// <summary>A device is open exactly where a descriptor has it open.</summary>
    private IEnumerable<string> Check(VfioPciCore device) =>
        device.IsOpen == (GroupOf(device).OpensOf(device.Address) > 0) ? device.CheckInvariants() : device.CheckInvariants().Add("INV-4");

    private static VfioError NoDevice => new(Errno.ENODEV, "No such device is vfio's, or it is being taken away.");
}
