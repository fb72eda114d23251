using Fabric.Linux;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>How a device of the kernel's is opened (contract §1.3).</summary>
public enum KernelInterface
{
    /// <summary>/dev/vfio/N and a container.</summary>
    Group,

    /// <summary>/dev/vfio/devices/vfioN and an iommufd.</summary>
    Cdev,
}

/// <summary>A device as the kernel's VFIO names it: a PCI function by its address, a mediated device by its UUID.</summary>
/// <param name="Cdev">The path of its character device; null where the kernel makes none.</param>
internal sealed record KernelName(string Name, int? Group, string? Cdev)
{
    public override string ToString() => Name;
}

/// <summary>
/// The kernel's VFIO on this machine: opens devices that are bound to a driver of it. Of a group one address space is open at a time, shared by all
/// devices of it that are open here.
/// </summary>
/// <param name="sysfs">Where sysfs is mounted.</param>
/// <param name="dev">Where device files are.</param>
public sealed class KernelVfio(string sysfs = "/sys", string dev = "/dev")
{
    private readonly Lock gate = new();
    private readonly Dictionary<(KernelInterface By, int Group), AddressSpace> spaces = [];

    /// <summary>Open while any cdev is.</summary>
    private Descriptor? iommufd;

    /// <summary>What this kernel has: cdevs go before groups, as newer kernels may have no groups any more.</summary>
    public KernelInterface Preferred =>
        File.Exists(Path.Combine(dev, "iommu")) && Directory.Exists(Path.Combine(dev, "vfio", "devices"))
            ? KernelInterface.Cdev
            : KernelInterface.Group;

    /// <summary>
    /// Opens a function that is bound to vfio-pci; the kernel resets it. Errors: ENODEV it is not VFIO's, or has no IOMMU group; EPERM its group is
    /// not viable; EBUSY it is open elsewhere; EACCES a VF token is wanted, or the user may not; the kernel's.
    /// </summary>
    /// <param name="by">Null for <see cref="Preferred"/>.</param>
    /// <param name="token">The VF token of a VF whose PF is vfio-pci's too.</param>
    public VfioResult<KernelDevice> Open(PciAddress function, KernelInterface? by = null, Guid? token = null) =>
        Open(function.ToString(), Path.Combine(sysfs, "bus", "pci", "devices", function.ToString()), by ?? Preferred, token);

    /// <summary>Opens a mediated device. Errors: those of a function.</summary>
    public VfioResult<KernelDevice> OpenMediated(Guid uuid, KernelInterface? by = null) =>
        Open(uuid.ToString(), Path.Combine(sysfs, "bus", "mdev", "devices", uuid.ToString()), by ?? Preferred, null);

    internal void Leave(AddressSpace space)
    {
        lock (gate)
        {
            if (!space.Leave())
                return;
            spaces.Remove(spaces.Single(entry => entry.Value == space).Key);
            space.End();
            CloseUnusedIommufd();
        }
    }

    private VfioResult<KernelDevice> Open(string name, string path, KernelInterface by, Guid? token)
    {
        var folder = new FunctionFolder(path);
        var cdev = folder.EntryOf("vfio-dev") is { } entry ? Path.Combine(dev, "vfio", "devices", entry) : null;
        var device = new KernelName(name, folder.LinkNumber("iommu_group"), cdev);
        if (device.Group is not { } group)
            return new VfioError(Errno.ENODEV, "The device has no IOMMU group: turn the IOMMU on (intel_iommu=on, amd_iommu=on).");
        if (by == KernelInterface.Cdev && cdev is null)
            return new VfioError(Errno.ENODEV, "The device has no cdev: bind it to vfio-pci, or open it by its group.");
        lock (gate)
        {
            var taken = Take(by, group);
            if (!taken.IsOk)
                return Explained(taken.Error, group);
            var opened = taken.Value.OpenDevice(device, token);
            var described = opened.IsOk ? KernelDevice.Describe(opened.Value, this, taken.Value) : opened.Error;
            if (described.IsOk)
                return described;
            if (opened.IsOk)
                opened.Value.Dispose();
            Leave(taken.Value);
            return Explained(described.Error, group);
        }
    }

    private VfioResult<AddressSpace> Take(KernelInterface by, int group)
    {
        if (!spaces.TryGetValue((by, group), out var space))
        {
            var opened = by == KernelInterface.Cdev ? AllocateIoas() : ContainerSpace.Open(Path.Combine(dev, "vfio"), group);
            if (!opened.IsOk)
                return opened;
            spaces[(by, group)] = space = opened.Value;
        }

        space.Enter();
        return space;
    }

    /// <summary>The kernel says EPERM of a group that is not viable, and not why: the sentence names who is in the way.</summary>
    private VfioError Explained(VfioError error, int number)
    {
        if (error.Errno != Errno.EPERM || new IommuGroups(sysfs).InTheWayOf(number) is not { IsEmpty: false } others)
            return error;
        var named = string.Join(", ", others.Select(static other => $"{other.Function} ({other.Driver})"));
        return error with
        {
            Sentence = $"IOMMU group {number} is not viable: {named} in it have drivers of the host. Give them to vfio-pci as well, or unbind them.",
        };
    }

    private VfioResult<AddressSpace> AllocateIoas()
    {
        if (iommufd is null)
        {
            var opened = KernelCall.Open(Path.Combine(dev, "iommu"), "/dev/iommu cannot be opened: is iommufd loaded, and may this user?");
            if (!opened.IsOk)
                return opened.Error;
            iommufd = opened.Value;
        }

        var allocated = IoasSpace.Allocate(iommufd);
        if (!allocated.IsOk)
            CloseUnusedIommufd();
        return allocated;
    }

    private void CloseUnusedIommufd()
    {
        if (spaces.Keys.Any(static key => key.By == KernelInterface.Cdev))
            return;
        iommufd?.Dispose();
        iommufd = null;
    }
}
