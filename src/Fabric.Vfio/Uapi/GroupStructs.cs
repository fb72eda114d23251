namespace Fabric.Vfio.Uapi;

[Flags]
public enum GroupFlags : uint
{
    None = 0,
    Viable = 1,
    ContainerSet = 2,
}

/// <summary>GROUP_GET_STATUS (LC-16).</summary>
public readonly record struct VfioGroupStatus(uint Argsz, GroupFlags Flags) : IUapiRequest<VfioGroupStatus>;

/// <summary>CHECK_EXTENSION: the argument itself, not a pointer to it.</summary>
public readonly record struct VfioCheckExtension(uint Extension) : IUapiStruct<VfioCheckExtension>;

/// <summary>SET_IOMMU: the argument itself, not a pointer to it.</summary>
public readonly record struct VfioSetIommu(int Type) : IUapiStruct<VfioSetIommu>;

/// <summary>GROUP_SET_CONTAINER (LC-16): the descriptor of a container, or of an iommufd that acts as one.</summary>
public readonly record struct VfioGroupSetContainer(int ContainerFd) : IUapiStruct<VfioGroupSetContainer>;
