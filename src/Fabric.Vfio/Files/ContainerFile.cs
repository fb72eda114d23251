using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// /dev/vfio/vfio: the groups that share one IOMMU. It lives for as long as its descriptor or any group in it does; without groups it forgets
/// its IOMMU and all that was mapped.
/// </summary>
public sealed class ContainerFile : VfioFile
{
    private const ulong NoIommuType = 8;

    private readonly List<GroupFile> groups = [];
    private bool isNoIommu;
    private bool isSet;

    internal ContainerFile()
    {
    }

    /// <summary>SET_IOMMU was done (LC-11).</summary>
    internal bool HasIommu => isSet;

    /// <summary>What the devices of its groups reach; null before SET_IOMMU, and without an IOMMU.</summary>
    internal Type1? Iommu { get; private set; }

    /// <summary>
    /// A group's SET_CONTAINER (LC-16). Errors: EPERM for a group without an IOMMU that comes without CAP_SYS_RAWIO or among others that have
    /// one, those of <see cref="IommuGroup.Claim"/>, and EPERM without isolated interrupts.
    /// </summary>
    internal VfioResult Add(GroupFile group)
    {
        var without = group.Group.Number is null;
        if (without && !group.HasRawIo)
            return VfioResult.Fail(Errno.EPERM, "A group without an IOMMU takes CAP_SYS_RAWIO.");
        if (groups.Count > 0 && isNoIommu != without)
            return VfioResult.Fail(Errno.EPERM, "Groups with and without an IOMMU do not share a container.");
        if (!without && group.Group.Claim(group) is { IsOk: false } refused)
            return refused;
        if (isSet && !without && !group.HasIsolatedInterrupts)
        {
            group.Group.Unclaim();
            return NotIsolated;
        }

        isNoIommu = without;
        groups.Add(group);
        return VfioResult.Ok;
    }

    internal void Remove(GroupFile group)
    {
        groups.Remove(group);
        if (group.Group.Number is not null)
            group.Group.Unclaim();
        if (groups.Count > 0)
            return;
        Iommu?.Space.Release(0, ulong.MaxValue);
        (Iommu, isSet, isNoIommu) = (null, false, false);
    }

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files) => number switch
    {
        ContainerIoctls.GetApiVersion => 0,
        ContainerIoctls.CheckExtension => HasExtension(argument) ? 1 : 0,
        ContainerIoctls.SetIommu => SetIommu(argument),
        _ when !isSet => new VfioError(Errno.EINVAL, "The container has no IOMMU; set a group's container to it, then SET_IOMMU."),
        _ => Iommu is { } iommu ? iommu.Ioctl(number, argument, memory) : UnknownNumber,
    };

    private protected override void OnClose()
    {
    }

    private bool HasExtension(ulong extension) =>
        groups.Count > 0 && isNoIommu ? extension == NoIommuType : Type1.HasExtension(extension);

    /// <summary>Errors: EINVAL without groups or a second time, ENODEV for a type that is not there, EPERM without isolated interrupts.</summary>
    private VfioResult<int> SetIommu(ulong type)
    {
        if (groups.Count == 0 || isSet)
            return new VfioError(Errno.EINVAL, "SET_IOMMU: the container has no group, or has its IOMMU already.");
        if (isNoIommu ? type != NoIommuType : !Type1.Supports(type))
            return new VfioError(Errno.ENODEV, "SET_IOMMU: there is no such IOMMU for the groups of this container; see CHECK_EXTENSION.");
        if (!isNoIommu && groups.Exists(static group => !group.HasIsolatedInterrupts))
            return NotIsolated.Error;
        if (!isNoIommu)
            Iommu = new Type1(new DmaMap(), Type1.IsVersion2(type));
        isSet = true;
        return 0;
    }

    private static VfioResult NotIsolated =>
        VfioResult.Fail(Errno.EPERM, "Interrupts of the group are not isolated from other devices' DMA; it cannot be handed out.");
}
