using System.Collections.Immutable;
using Fabric.Vfio.Core;

namespace Fabric.Vfio.Files;

/// <summary>How the descriptor of a device came to be, as far as requests depend on that.</summary>
public interface IDeviceOpening
{
    /// <summary>From the device's cdev, so ATTACH and DETACH mean something; from its group they do not (IO-102).</summary>
    bool IsCdev { get; }

    /// <summary>The device in its iommufd; null where that is none of an iommufd's, or bound without an IOMMU.</summary>
    IommufdDevice? Iommufd { get; }

    /// <summary>What its holder shows to be its own at a hot reset (LC-54).</summary>
    /// <param name="descriptors">Descriptors of groups that were passed.</param>
    /// <param name="fault">What is wrong with them.</param>
    /// <param name="groups">The groups of those that are good.</param>
    IHotResetOwnership Owning(int descriptors, VfioError fault, ImmutableArray<int> groups);
}
