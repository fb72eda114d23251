using System.Collections.Frozen;
using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>A function that a hot reset touches.</summary>
/// <param name="Id">
/// Its IOMMU group; or, by device id, the id above 0 under which the caller bound it, <see cref="OwnedNotBound"/>, <see cref="NotOwned"/> (IO-61).
/// </param>
public readonly record struct HotResetDependent(int Id, PciAddress Address)
{
    public const int OwnedNotBound = 0;
    public const int NotOwned = -1;
}

/// <summary>GET_PCI_HOT_RESET_INFO (contract §2.7).</summary>
/// <param name="ByDeviceId">The ids are device ids, not groups.</param>
/// <param name="AllOwned">By device id: the caller owns every one of them.</param>
public sealed record HotResetInfo(bool ByDeviceId, bool AllOwned, ImmutableArray<HotResetDependent> Dependents);

/// <summary>What the caller of a hot reset shows to be its own (LC-54).</summary>
public interface IHotResetOwnership
{
    /// <summary>It opened the device through its cdev, so what it owns is told by its iommufd; else by the groups it passes.</summary>
    bool IsByDeviceId { get; }

    /// <summary>Group descriptors passed.</summary>
    int Groups { get; }

    /// <summary>What is wrong with the descriptors passed (EFAULT, EBADF, EINVAL), reported only when its turn comes (IO-62).</summary>
    VfioError Fault => default;

    bool Owns(VfioPciCore device);

    /// <summary>The device's id in the caller's iommufd, as <see cref="HotResetDependent.Id"/> has it. Asked by device id only.</summary>
    int DeviceIdOf(VfioPciCore device);
}

/// <summary>The host itself, which needs nobody's leave.</summary>
internal sealed class AllOwned : IHotResetOwnership
{
    private AllOwned()
    {
    }

    public static AllOwned Instance { get; } = new();

    public bool IsByDeviceId => true;

    public int Groups => 0;

    public bool Owns(VfioPciCore device) => true;

    public int DeviceIdOf(VfioPciCore device) => HotResetDependent.OwnedNotBound;
}

/// <summary>Ownership by group descriptors: a device is owned when its group is among them.</summary>
public sealed class GroupOwnership : IHotResetOwnership
{
    private readonly ImmutableArray<int> groups;

    public GroupOwnership(params ImmutableArray<int> groups) => (this.groups, Groups) = (groups, groups.Length);

    /// <summary>Groups from descriptors.</summary>
    /// <param name="count">Descriptors passed, however many of them are good.</param>
    public GroupOwnership(int count, VfioError fault, ImmutableArray<int> groups) => (this.groups, Groups, Fault) = (groups, count, fault);

    public bool IsByDeviceId => false;

    public int Groups { get; }

    public VfioError Fault { get; }

    public bool Owns(VfioPciCore device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.IommuGroup is { } group && groups.Contains(group);
    }

    public int DeviceIdOf(VfioPciCore device) => HotResetDependent.NotOwned;
}

/// <summary>
/// Ownership by iommufd: a device is owned when it is bound there, or when it is bound nowhere and its group is owned from there already.
/// </summary>
/// <param name="bound">Ids above 0 of the devices bound in the context.</param>
/// <param name="ownedGroups">IOMMU groups that the context owns.</param>
/// <param name="boundElsewhere">Devices bound in other contexts.</param>
/// <param name="groups">Group descriptors passed all the same, which a caller of this kind must not (IO-62).</param>
public sealed class ContextOwnership(
    IEnumerable<KeyValuePair<PciAddress, int>> bound,
    IEnumerable<int> ownedGroups,
    IEnumerable<PciAddress>? boundElsewhere = null,
    int groups = 0) : IHotResetOwnership
{
    private readonly FrozenDictionary<PciAddress, int> bound = bound.ToFrozenDictionary();
    private readonly FrozenSet<int> ownedGroups = ownedGroups.ToFrozenSet();
    private readonly FrozenSet<PciAddress> boundElsewhere = (boundElsewhere ?? []).ToFrozenSet();

    public bool IsByDeviceId => true;

    public int Groups => groups;

    public bool Owns(VfioPciCore device) => DeviceIdOf(device) != HotResetDependent.NotOwned;

    public int DeviceIdOf(VfioPciCore device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (bound.TryGetValue(device.Address, out var id))
            return id;
        return !boundElsewhere.Contains(device.Address) && device.IommuGroup is { } group && ownedGroups.Contains(group)
            ? HotResetDependent.OwnedNotBound
            : HotResetDependent.NotOwned;
    }
}
