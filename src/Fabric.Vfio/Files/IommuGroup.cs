using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Files;

/// <summary>The way by which devices of a group are open (INV-4).</summary>
public enum OpenKind
{
    None,
    Group,
    Cdev,
}

/// <summary>What the host itself does with a group's DMA (LC-16, IO-100).</summary>
public enum HostDmaUse
{
    None,

    /// <summary>A device of the group has a host driver that does DMA: EPERM.</summary>
    HostDriver,

    /// <summary>The group is in an IOMMU domain of the kernel's: EBUSY.</summary>
    KernelDomain,
}

/// <summary>
/// Who may open what of one IOMMU group (LC-12, LC-13), and who owns its DMA (LC-16, IO-100). Its devices are open through the group's node or
/// through their own cdevs, never both (INV-4). It knows of opens alone: not of files, nor of devices' insides.
/// </summary>
/// <param name="number">Null without an IOMMU: a group of one device, for the sake of the node.</param>
public sealed class IommuGroup(int? number)
{
    private readonly SortedDictionary<PciAddress, int> opens = [];
    private object? owner;
    private int claims;

    public int? Number => number;

    /// <summary>Its node is open, or a device is that was got from it.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>Cdevs of the group that are bound, or being bound.</summary>
    public int Cdevs { get; private set; }

    public OpenKind Kind => IsOpen ? OpenKind.Group : Cdevs > 0 ? OpenKind.Cdev : OpenKind.None;

    public bool IsClaimed => claims > 0;

    public HostDmaUse Host { get; set; }

    public int OpensOf(PciAddress device) => opens.GetValueOrDefault(device);

    /// <summary>Opens the node. Errors: EBUSY while it is open, and while a cdev is bound (LC-13).</summary>
    public VfioResult Open()
    {
        if (Cdevs > 0)
            return Fail(Errno.EBUSY, "A device of the group is bound through its cdev; close that first.");
        if (IsOpen)
            return Fail(Errno.EBUSY, "The group is open already, or a device is that was got from it; a group is opened once.");
        IsOpen = true;
        return VfioResult.Ok;
    }

    /// <summary>The node, and every device got from it, is closed.</summary>
    public void Close() => IsOpen = false;

    /// <summary>
    /// One more descriptor of a device from the open group (LC-12). Returns how many there are: with the first the device itself is opened.
    /// Errors: EINVAL where the group is not open.
    /// </summary>
    public VfioResult<int> Use(PciAddress device)
    {
        if (!IsOpen)
            return new VfioError(Errno.EINVAL, "The group is not open.");
        return opens[device] = OpensOf(device) + 1;
    }

    /// <summary>One descriptor less. Returns how many are left: with the last the device itself is closed.</summary>
    public int Unuse(PciAddress device)
    {
        var left = Math.Max(OpensOf(device) - 1, 0);
        opens[device] = left;
        if (left == 0)
            opens.Remove(device);
        return left;
    }

    /// <summary>A cdev is about to be bound: the node cannot be opened until <see cref="Unblock"/>. Errors: EBUSY while it is open (LC-13).</summary>
    public VfioResult Block()
    {
        if (IsOpen)
            return Fail(Errno.EBUSY, "The group of the device is open; close it, and every device got from it.");
        Cdevs++;
        return VfioResult.Ok;
    }

    public void Unblock() => Cdevs--;

    /// <summary>Binds a device by its cdev, after <see cref="Block"/>. Errors: EINVAL while it is bound (LC-12).</summary>
    public VfioResult Bind(PciAddress device)
    {
        if (OpensOf(device) != 0)
            return Fail(Errno.EINVAL, "The device is bound already, through this descriptor or another.");
        opens[device] = 1;
        return VfioResult.Ok;
    }

    public void Unbind(PciAddress device) => opens.Remove(device);

    /// <summary>
    /// Claims the group's DMA; an owner may do so several times. Errors: EPERM while another owns it, EBUSY while the kernel uses it
    /// itself.
    /// </summary>
    public VfioResult Claim(object claimant)
    {
        if (Host == HostDmaUse.HostDriver || (claims > 0 && !ReferenceEquals(owner, claimant)))
            return Fail(Errno.EPERM, "The DMA of the group belongs to another user, or to a host driver; release or unbind that first.");
        if (Host == HostDmaUse.KernelDomain)
            return Fail(Errno.EBUSY, "The group is in a domain of the kernel's own.");
        owner = claimant;
        claims++;
        return VfioResult.Ok;
    }

    public void Unclaim()
    {
        if (--claims == 0)
            owner = null;
    }

    /// <summary>INV-4, where it does not hold: opens are of one kind, and a device that is open is so by its group or by one cdev.</summary>
    public ImmutableArray<string> CheckInvariants()
    {
        var mixed = IsOpen && Cdevs > 0;
        var withoutWay = opens.Count > 0 && Kind == OpenKind.None;
        var tooMany = Kind == OpenKind.Cdev && (opens.Count > Cdevs || opens.Values.Any(static count => count != 1));
        return mixed || withoutWay || tooMany || claims < 0 ? ["INV-4"] : [];
    }

    private static VfioResult Fail(Errno errno, string sentence) => VfioResult.Fail(errno, sentence);
}
