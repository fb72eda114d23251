using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>
/// What the DMA of one IOMMU group reaches, in the kernel: the devices of a group cannot be told apart by the IOMMU, so they share it. Only memory
/// of this process can be mapped. It lives as long as any device that was opened with it.
/// </summary>
internal abstract class AddressSpace
{
    private int users;

    /// <summary>Errors: EOPNOTSUPP for what is no memory of this process; EEXIST; the kernel's.</summary>
    public VfioResult Map(DmaMapping mapping)
    {
        if (mapping.Target is not IDmaMemory memory)
            return VfioResult.Fail(Errno.EOPNOTSUPP, "The IOMMU reaches memory of this process alone: map that, not another device's.");
        var mapped = Map(mapping, AddressOf(memory));
        return mapped.IsOk ? VfioResult.Ok : mapped.Error;
    }

    /// <summary>When it has returned, no DMA reaches the memory any more. Errors: the kernel's.</summary>
    public abstract VfioResult Unmap(DmaMapping mapping);

    /// <summary>One device more is open with it. Under the lock of who hands it out, as <see cref="Leave"/> is.</summary>
    public void Enter() => users++;

    /// <summary>True for the last one, who ends it.</summary>
    public bool Leave() => --users == 0;

    /// <summary>Opens a device with this behind it. Errors: the kernel's.</summary>
    public abstract VfioResult<Descriptor> OpenDevice(KernelName device, Guid? token);

    public abstract void End();

    private protected abstract VfioResult<int> Map(DmaMapping mapping, ulong address);

    /// <summary>It is pinned for as long as it is mapped.</summary>
    private static unsafe ulong AddressOf(IDmaMemory memory)
    {
        fixed (byte* start = &MemoryMarshal.GetReference(memory.Window(0, 1)))
            return (ulong)start;
    }
}

/// <summary>An IOMMU group and its container, of type 1 version 2.</summary>
internal sealed class ContainerSpace : AddressSpace
{
    private const nint Type1Version2 = 3;

    private readonly Descriptor container;
    private readonly Descriptor group;

    private ContainerSpace(Descriptor container, Descriptor group) => (this.container, this.group) = (container, group);

    /// <summary>The group's own descriptor, by which a hot reset is allowed (LC-51).</summary>
    public int GroupDescriptor => group.Number;

    /// <summary>Errors: EBUSY another process has the group; EPERM it is not viable; ENOENT, EACCES of the files; the kernel's.</summary>
    public static VfioResult<AddressSpace> Open(string vfio, int number)
    {
        var container = KernelCall.Open(Path.Combine(vfio, "vfio"), "/dev/vfio/vfio cannot be opened: is vfio loaded, and may this user?");
        if (!container.IsOk)
            return container.Error;
        var group = KernelCall.Open(
            Path.Combine(vfio, number.ToString(CultureInfo.InvariantCulture)),
            "The IOMMU group's file cannot be opened: it may be another process's (EBUSY) or another user's (EACCES).");
        if (!group.IsOk)
        {
            container.Value.Dispose();
            return group.Error;
        }

        var joined = Join(container.Value, group.Value);
        if (joined.IsOk)
            return new ContainerSpace(container.Value, group.Value);
        group.Value.Dispose();
        container.Value.Dispose();
        return joined.Error;
    }

    public override VfioResult Unmap(DmaMapping mapping)
    {
        var request = new VfioIommuType1DmaUnmap((uint)VfioIommuType1DmaUnmap.WireSize, DmaUnmapFlags.None, mapping.Iova, mapping.Length);
        var unmapped = KernelCall.Ioctl(container, ContainerIoctls.IommuUnmapDma, ref request, "IOMMU_UNMAP_DMA failed.");
        return unmapped.IsOk ? VfioResult.Ok : unmapped.Error;
    }

    public override VfioResult<Descriptor> OpenDevice(KernelName device, Guid? token)
    {
        var name = Encoding.UTF8.GetBytes(token is { } uuid ? $"{device} vf_token={uuid}\0" : $"{device}\0");
        var opened = KernelCall.Ioctl(
            group, GroupIoctls.GetDeviceFd, name.AsSpan(),
            "GROUP_GET_DEVICE_FD failed: EACCES asks for the VF token of its PF, ENODEV for vfio-pci as its driver.");
        return opened.IsOk ? new Descriptor(opened.Value) : opened.Error;
    }

    public override void End()
    {
        group.Dispose();
        container.Dispose();
    }

    private protected override VfioResult<int> Map(DmaMapping mapping, ulong address)
    {
        var flags = ((mapping.Access & DmaAccess.Read) != 0 ? DmaMapFlags.Read : 0) |
            ((mapping.Access & DmaAccess.Write) != 0 ? DmaMapFlags.Write : 0);
        var request = new VfioIommuType1DmaMap((uint)VfioIommuType1DmaMap.WireSize, flags, address, mapping.Iova, mapping.Length);
        return KernelCall.Ioctl(
            container, ContainerIoctls.IommuMapDma, ref request, "IOMMU_MAP_DMA failed: ENOMEM asks for a higher limit of locked memory.");
    }

    private static VfioResult<int> Join(Descriptor container, Descriptor group)
    {
        var fd = container.Number;
        var joined = KernelCall.Ioctl(
            group, GroupIoctls.SetContainer, ref fd, "The IOMMU group is not viable (EPERM): a device of it has a driver that is not VFIO's.");
        return joined.IsOk ? KernelCall.Ioctl(container, ContainerIoctls.SetIommu, Type1Version2, "The container takes no type 1 IOMMU.") : joined;
    }
}

/// <summary>An address space of an iommufd, for devices that are opened by their cdevs.</summary>
internal sealed class IoasSpace : AddressSpace
{
    private readonly Descriptor iommufd;
    private readonly uint id;

    private IoasSpace(Descriptor iommufd, uint id) => (this.iommufd, this.id) = (iommufd, id);

    /// <param name="iommufd">Of all spaces the same: a hot reset takes devices of one iommufd for one owner's (LC-54).</param>
    public static VfioResult<AddressSpace> Allocate(Descriptor iommufd)
    {
        var request = new IommuIoasAlloc((uint)IommuIoasAlloc.WireSize, 0, 0);
        var allocated = KernelCall.Ioctl(iommufd, IommufdIoctls.IoasAlloc, ref request, "IOMMU_IOAS_ALLOC failed.");
        return allocated.IsOk ? new IoasSpace(iommufd, request.OutIoasId) : allocated.Error;
    }

    public override VfioResult Unmap(DmaMapping mapping)
    {
        var request = new IommuIoasUnmap((uint)IommuIoasUnmap.WireSize, id, mapping.Iova, mapping.Length);
        var unmapped = KernelCall.Ioctl(iommufd, IommufdIoctls.IoasUnmap, ref request, "IOMMU_IOAS_UNMAP failed.");
        return unmapped.IsOk ? VfioResult.Ok : unmapped.Error;
    }

    public override unsafe VfioResult<Descriptor> OpenDevice(KernelName device, Guid? token)
    {
        var opened = KernelCall.Open(device.Cdev!, "The device's cdev cannot be opened: it may be another user's.");
        if (!opened.IsOk)
            return opened;
        var uuid = token is { } given ? new VfToken(given) : default;
        var bind = new VfioDeviceBindIommufd(
            (uint)VfioDeviceBindIommufd.WireSize, token is null ? BindFlags.None : BindFlags.Token, iommufd.Number, 0,
            token is null ? 0 : (ulong)&uuid);
        // A kernel that knows no token takes no larger structure with one in it; without one the shorter is what every kernel knows.
        if (token is null)
            bind = bind with { Argsz = (uint)VfioDeviceBindIommufd.MinSize };
        var bound = KernelCall.Ioctl(
            opened.Value, DeviceIoctls.BindIommufd, ref bind,
            "BIND_IOMMUFD failed: EACCES asks for the VF token of its PF, EPERM for a viable group, EBUSY has it open.");
        var attach = new VfioDeviceAttachIommufdPt((uint)VfioDeviceAttachIommufdPt.MinSize, AttachFlags.None, id, 0);
        var attached = bound.IsOk ? KernelCall.Ioctl(opened.Value, DeviceIoctls.AttachIommufdPt, ref attach, "ATTACH_IOMMUFD_PT failed.") : bound;
        if (attached.IsOk)
            return opened;
        opened.Value.Dispose();
        return attached.Error;
    }

    /// <summary>Nothing is attached to it any more, so it goes; if it does not, it goes with the iommufd.</summary>
    public override void End()
    {
        var request = new IommuDestroy((uint)IommuDestroy.WireSize, id);
        _ = KernelCall.Ioctl(iommufd, IommufdIoctls.Destroy, ref request, "IOMMU_DESTROY failed.");
    }

    private protected override VfioResult<int> Map(DmaMapping mapping, ulong address)
    {
        var flags = IoasMapFlags.FixedIova |
            ((mapping.Access & DmaAccess.Read) != 0 ? IoasMapFlags.Readable : 0) |
            ((mapping.Access & DmaAccess.Write) != 0 ? IoasMapFlags.Writeable : 0);
        var request = new IommuIoasMap((uint)IommuIoasMap.WireSize, flags, id, 0, address, mapping.Length, mapping.Iova);
        return KernelCall.Ioctl(
            iommufd, IommufdIoctls.IoasMap, ref request, "IOMMU_IOAS_MAP failed: ENOMEM asks for a higher limit of locked memory.");
    }
}
