using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// /dev/vfio/N: an IOMMU group. Devices got from it keep it open after its own descriptor is closed, and with it the container that it is in.
/// </summary>
public sealed class GroupFile : VfioFile
{
    private readonly VfioFiles host;
    private ContainerFile? container;
    private IommufdContext? context;
    private int devices;

    internal GroupFile(VfioFiles host, IommuGroup group, bool hasRawIo) => (this.host, Group, HasRawIo) = (host, group, hasRawIo);

    public IommuGroup Group { get; }

    internal bool HasRawIo { get; }

    internal bool HasIsolatedInterrupts =>
        host.DevicesOf(Group).All(static device => (device.Traits & FunctionTraits.NoInterruptIsolation) == 0);

    private bool HasIommu => container is not null || context is not null;

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files) => number switch
    {
        GroupIoctls.GetStatus => GetStatus(argument, memory),
        GroupIoctls.SetContainer => SetContainer(argument, memory, files),
        GroupIoctls.UnsetContainer => UnsetContainer(),
        GroupIoctls.GetDeviceFd => GetDeviceFd(argument, memory, files),
        _ => UnknownNumber,
    };

    private protected override void OnClose() => EndIfUnused();

    // ---- The container (LC-16) -------------------------------------------------------------------------------------------------------

    private VfioResult<int> GetStatus(ulong argument, IUserMemory memory)
    {
        var fetched = memory.Fetch<VfioGroupStatus>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        var flags = HasIommu ? GroupFlags.ContainerSet | GroupFlags.Viable
            : Group.IsClaimed || Group.Host == HostDmaUse.HostDriver ? GroupFlags.None
            : GroupFlags.Viable;
        return memory.Respond(argument, fetched.Value with { Flags = flags }, fetched.Value.Argsz);
    }

    /// <summary>Errors, in this order: EFAULT, EBADF, EINVAL, those of the container, EBADFD for a file of another kind.</summary>
    private VfioResult<int> SetContainer(ulong argument, IUserMemory memory, IFileTable files)
    {
        if (!memory.TryGet(argument, out int fd))
            return BadAddress;
        var file = fd < 0 ? NotOpen : files.File(fd);
        if (!file.IsOk || file.Value is { IsClosed: true })
            return NotOpen;
        if (HasIommu)
            return new VfioError(Errno.EINVAL, "GROUP_SET_CONTAINER: the group has a container; unset that first.");
        switch (file.Value)
        {
            case ContainerFile wanted:
                var added = wanted.Add(this);
                if (added.IsOk)
                    container = wanted;
                return added.IsOk ? 0 : added.Error;
            case IommufdFile wanted:
                context = wanted.Context;
                context.Hold();
                if (Group.Number is not null)
                    context.Compatible ??= context.AllocateIoas();
                return 0;
            default:
                return new VfioError(Errno.EBADFD, "GROUP_SET_CONTAINER: the descriptor is neither that of a container nor that of an iommufd.");
        }
    }

    /// <summary>Errors: EINVAL without a container, EBUSY while a device of the group is open.</summary>
    private VfioResult<int> UnsetContainer()
    {
        if (!HasIommu)
            return new VfioError(Errno.EINVAL, "GROUP_UNSET_CONTAINER: the group has no container.");
        if (devices > 0)
            return new VfioError(Errno.EBUSY, "GROUP_UNSET_CONTAINER: devices of the group are open; close them first.");
        LeaveContainer();
        return 0;
    }

    private void LeaveContainer()
    {
        container?.Remove(this);
        context?.Release();
        (container, context) = (null, null);
    }

    private static VfioError NotOpen => new(Errno.EBADF, "GROUP_SET_CONTAINER: the descriptor is not open.");

    // ---- Devices (LC-10 to LC-12, LC-15) ---------------------------------------------------------------------------------------------

    /// <summary>Errors, in this order: EFAULT, EINVAL, ENODEV, EACCES, EMFILE, EINVAL without a container, those of IOMMU and open.</summary>
    private VfioResult<int> GetDeviceFd(ulong argument, IUserMemory memory, IFileTable files)
    {
        var name = ReadName(argument, memory);
        if (!name.IsOk)
            return name.Error;
        var found = Find(name.Value.Name);
        if (!found.IsOk)
            return found.Error;
        var fd = files.Reserve();
        if (!fd.IsOk)
            return fd.Error;
        var opened = Open(found.Value);
        if (!opened.IsOk)
        {
            files.Release(fd.Value);
            return opened.Error;
        }

        files.Install(fd.Value, opened.Value);
        return fd.Value;
    }

    /// <summary>Read a piece at a time: text that ends well before a page ends need not be followed by anything.</summary>
    private static VfioResult<GetDeviceFdIoctl> ReadName(ulong argument, IUserMemory memory)
    {
        Span<byte> text = stackalloc byte[GetDeviceFdIoctl.MaxLength];
        for (var length = 0; length < text.Length; length++)
        {
            if (!memory.TryRead(argument + (ulong)length, text.Slice(length, 1)))
                return GetDeviceFdIoctl.Decode(text[..length]);
            if (text[length] == 0)
                return GetDeviceFdIoctl.Decode(text[..(length + 1)]);
        }

        return GetDeviceFdIoctl.Decode(text);
    }

    private VfioResult<IDeviceOps> Find(string name)
    {
        foreach (var device in host.DevicesOf(Group))
        {
            var options = DeviceName.Match(name, device.Address);
            if (!options.IsOk)
                return options.Error;
            if (options.Value is not { } matched)
                continue;
            var ops = host.OpsOf(device);
            var allowed = ops.Match(matched.Token);
            return allowed.IsOk ? VfioResult.Of(ops) : allowed.Error;
        }

        return new VfioError(Errno.ENODEV, "GROUP_GET_DEVICE_FD: the group has no device of this name that is vfio's.");
    }

    private VfioResult<GroupDeviceFile> Open(IDeviceOps ops)
    {
        if (!HasIommu)
            return new VfioError(Errno.EINVAL, "GROUP_GET_DEVICE_FD: the group has no container; set one first.");
        var count = Group.Use(ops.Device.Address);
        if (!count.IsOk)
            return count.Error;
        devices++;
        var opened = count.Value == 1 ? host.FirstOpen(ops, this) : VfioResult.Ok;
        if (opened.IsOk)
            return new GroupDeviceFile(ops, this);
        Group.Unuse(ops.Device.Address);
        devices--;
        return opened.Error;
    }

    /// <summary>The first open of a device: its IOMMU is taken into use, then it is opened, then its DMA is let go there (LC-15).</summary>
    internal VfioResult FirstOpen(IDeviceOps ops, out IommufdDevice? bound)
    {
        bound = null;
        if (container is { HasIommu: false })
            return VfioResult.Fail(Errno.EINVAL, "GROUP_GET_DEVICE_FD: the group's container has no IOMMU; SET_IOMMU first.");
        if (Group.Number is null && !HasRawIo)
            return VfioResult.Fail(Errno.EPERM, "Opening a device without an IOMMU takes CAP_SYS_RAWIO.");
        if (context is { } iommufd && Group.Number is not null)
        {
            var binding = iommufd.Bind(ops, Group);
            if (!binding.IsOk)
                return binding.Error;
            bound = binding.Value;
        }

        var opened = ops.OpenDevice(HasRawIo);
        if (!opened.IsOk)
        {
            bound?.Unbind();
            return opened;
        }

        var attached = Attach(ops, bound);
        if (attached.IsOk)
            return VfioResult.Ok;
        ops.CloseDevice();
        bound?.Unbind();
        return attached;
    }

    private VfioResult Attach(IDeviceOps ops, IommufdDevice? bound)
    {
        if (bound is null)
            return container?.Iommu is { } iommu ? ops.AttachIoas(iommu.Space) : VfioResult.Ok;
        if (context!.Compatible is not { } ioas)
            return VfioResult.Fail(Errno.ENODEV, "The iommufd has no address space for VFIO's own requests any more.");
        return bound.Attach(ioas.Id).Error;
    }

    /// <summary>A device that was got from here is closed.</summary>
    internal void Closed(IDeviceOps ops)
    {
        if (Group.Unuse(ops.Device.Address) == 0)
            host.LastClose(ops);
        devices--;
        EndIfUnused();
    }

    private void EndIfUnused()
    {
        if (!IsClosed || devices > 0)
            return;
        LeaveContainer();
        Group.Close();
    }
}
