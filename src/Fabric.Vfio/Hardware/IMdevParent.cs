using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>
/// A device of a host that gives parts of itself away (kernel: mdev_parent). mdev is how such a part comes and goes and nothing else: what is made
/// is an ordinary function, with an ordinary driver. Safe to use from any thread; making and removing may take as long as hardware does.
/// </summary>
public interface IMdevParent
{
    /// <summary>Unique on its host, such as <c>mtty</c>: lowercase letters, digits, dashes and dots, so that it can name a folder.</summary>
    string Name { get; }

    /// <summary>Those that it has, with how many of each could be made now. The same ones for as long as the parent is there.</summary>
    ImmutableArray<MdevType> Types { get; }

    /// <summary>
    /// Makes a function of a type (sysfs: create). Errors: EINVAL no such type; EEXIST it has that UUID already; ENOSPC not enough is left, which the
    /// sentence counts; the hardware's own.
    /// </summary>
    /// <param name="address">Where it is to be: no other function of the host is there.</param>
    VfioResult<IPciFunction> Create(string type, Guid uuid, PciAddress address);

    /// <summary>Takes back what it made, when nobody uses it any more (sysfs: remove). Errors: ENODEV no such UUID, and the hardware's own.</summary>
    VfioResult Remove(Guid uuid);
}

/// <summary>A kind of part that a parent can make (kernel: mdev_type).</summary>
/// <param name="Id">As sysfs has it, such as <c>mtty-2</c>.</param>
/// <param name="Name">A name for people.</param>
/// <param name="Description">What there is in one of them.</param>
/// <param name="AvailableInstances">How many more of this type could be made now; those of one parent often share what they are made of.</param>
public sealed record MdevType(string Id, string Name, string Description, int AvailableInstances);
