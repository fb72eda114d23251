using Fabric.Pci;
using Fabric.Vfio.Core;

namespace Fabric.Vfio.Files;

/// <summary>Something that an iommufd has under an id.</summary>
internal abstract class IommufdObject
{
    public uint Id { get; set; }

    /// <summary>Whether others are built on it: then it cannot be destroyed (EBUSY).</summary>
    public abstract bool IsUsed { get; }
}

/// <summary>An address space (IOAS).</summary>
internal sealed class Ioas : IommufdObject
{
    public DmaMap Space { get; } = new();

    /// <summary>The page table that the kernel makes of it when a device is attached; null while none is.</summary>
    public Hwpt? PageTable { get; set; }

    public override bool IsUsed => PageTable is not null;
}

/// <summary>A page table (HWPT) that was made of an address space, and goes with the last device attached to it (IO-101).</summary>
internal sealed class Hwpt(Ioas ioas) : IommufdObject
{
    public Ioas Ioas => ioas;

    public int Users { get; set; }

    public override bool IsUsed => Users > 0;
}

/// <summary>
/// An iommufd: its objects by id, the devices bound to it, and what they are attached to. It lives for as long as its descriptor or any device
/// bound to it does. It knows nothing of bytes: <see cref="IommufdFile"/> does.
/// </summary>
public sealed class IommufdContext
{
    private readonly SortedDictionary<uint, IommufdObject> objects = [];
    private readonly Dictionary<IommuGroup, Hwpt> attachments = [];
    private uint lowestFree = 1;
    private int holders = 1;

    /// <summary>Devices bound, and their ids.</summary>
    public IEnumerable<IommufdDevice> Devices => objects.Values.OfType<DeviceObject>().Select(static bound => bound.Device);

    /// <summary>The address space that VFIO's own requests mean; null where there is none.</summary>
    internal Ioas? Compatible { get; set; }

    /// <summary>Binds a device. Errors: EPERM without isolated interrupts, and those of <see cref="IommuGroup.Claim"/> (IO-100).</summary>
    internal VfioResult<IommufdDevice> Bind(IDeviceOps ops, IommuGroup group)
    {
        if ((ops.Device.Traits & FunctionTraits.NoInterruptIsolation) != 0)
            return new VfioError(Errno.EPERM, "The device's interrupts are not isolated from other devices' DMA; it cannot be handed out.");
        if (group.Claim(this) is { IsOk: false } refused)
            return refused.Error;
        var bound = new DeviceObject(this, ops, group);
        Add(bound);
        Hold();
        return bound.Device;
    }

    internal void Hold() => holders++;

    /// <summary>The last holder is gone: with it everything that was mapped.</summary>
    internal void Release()
    {
        if (--holders > 0)
            return;
        foreach (var ioas in objects.Values.OfType<Ioas>())
            ioas.Space.Release(0, ulong.MaxValue);
    }

    internal Ioas AllocateIoas()
    {
        var ioas = new Ioas();
        Add(ioas);
        return ioas;
    }

    /// <summary>Null for an id of nothing, or of something else.</summary>
    internal Ioas? FindIoas(uint id) => objects.GetValueOrDefault(id) as Ioas;

    /// <summary>Errors: ENOENT, EBUSY while it is used.</summary>
    internal VfioResult Destroy(uint id)
    {
        if (!objects.TryGetValue(id, out var found))
            return NoObject;
        if (found.IsUsed)
            return VfioResult.Fail(Errno.EBUSY, "The object is in use: detach and close what is built on it first.");
        Remove(found);
        if (found is Ioas ioas)
        {
            ioas.Space.Release(0, ulong.MaxValue);
            Compatible = ReferenceEquals(Compatible, ioas) ? null : Compatible;
        }

        return VfioResult.Ok;
    }

    /// <summary>What the holder of a device of this context owns (LC-54).</summary>
    internal ContextOwnership Ownership(int descriptors) => new(
        Devices.Select(static device => KeyValuePair.Create(device.Address, (int)device.Id)),
        Devices.Select(static device => device.Group.Number).OfType<int>(),
        groups: descriptors);

    private void Add(IommufdObject added)
    {
        added.Id = lowestFree;
        objects.Add(added.Id, added);
        while (objects.ContainsKey(lowestFree))
            lowestFree++;
    }

    private void Remove(IommufdObject removed)
    {
        objects.Remove(removed.Id);
        lowestFree = Math.Min(lowestFree, removed.Id);
    }

    internal sealed class DeviceObject : IommufdObject
    {
        public DeviceObject(IommufdContext context, IDeviceOps ops, IommuGroup group) => Device = new IommufdDevice(context, this, ops, group);

        public IommufdDevice Device { get; }

        /// <summary>Its descriptor uses it, until that is closed (IO-103).</summary>
        public override bool IsUsed => true;
    }

    // ---- What devices are attached to (IO-101, IO-102): all of a group to the same -------------------------------------------------------

    internal VfioResult<uint> Attach(IommufdDevice device, uint ptId)
    {
        if (!objects.TryGetValue(ptId, out var target))
            return NoObject.Error;
        if (target is not (Ioas or Hwpt))
            return new VfioError(Errno.EINVAL, "The id is that of neither an address space nor a page table.");
        var current = attachments.GetValueOrDefault(device.Group);
        var wanted = target as Hwpt ?? ((Ioas)target).PageTable;
        if (!device.IsAttached && current is not null && !ReferenceEquals(current, wanted))
            return new VfioError(Errno.EINVAL, "Another device of the group is attached elsewhere; all of a group share one page table.");
        var ioas = (target as Hwpt)?.Ioas ?? (Ioas)target;
        IommufdDevice[] moving = device.IsAttached ? [.. Devices.Where(other => other.IsAttached && other.Group == device.Group)] : [device];
        for (var moved = 0; moved < moving.Length; moved++)
        {
            var attached = moving[moved].Ops.AttachIoas(ioas.Space);
            if (attached.IsOk)
                continue;
            while (moved-- > 0)
                moving[moved].ConnectTo(current);
            return attached.Error;
        }

        wanted ??= MakePageTable(ioas);
        wanted.Users += moving.Length;
        if (device.IsAttached)
            Leave(current!, moving.Length);
        attachments[device.Group] = wanted;
        device.IsAttached = true;
        return wanted.Id;
    }

    internal void Detach(IommufdDevice device)
    {
        if (!device.IsAttached)
            return;
        device.IsAttached = false;
        device.Ops.DetachIoas();
        var left = attachments[device.Group];
        if (!Devices.Any(other => other.IsAttached && other.Group == device.Group))
            attachments.Remove(device.Group);
        Leave(left, 1);
    }

    internal void Unbind(IommufdDevice device, DeviceObject bound)
    {
        Detach(device);
        Remove(bound);
        device.Group.Unclaim();
        Release();
    }

    private Hwpt MakePageTable(Ioas ioas)
    {
        var made = new Hwpt(ioas);
        Add(made);
        ioas.PageTable = made;
        return made;
    }

    private void Leave(Hwpt table, int users)
    {
        table.Users -= users;
        if (table.IsUsed)
            return;
        table.Ioas.PageTable = null;
        Remove(table);
    }

    internal static VfioResult NoObject => VfioResult.Fail(Errno.ENOENT, "The iommufd has no such object of this id.");
}

/// <summary>A device that is bound to an iommufd: what its driver's attach_ioas and detach_ioas work on.</summary>
public sealed class IommufdDevice
{
    private readonly IommufdContext context;
    private readonly IommufdContext.DeviceObject bound;

    internal IommufdDevice(IommufdContext context, IommufdContext.DeviceObject bound, IDeviceOps ops, IommuGroup group) =>
        (this.context, this.bound, Ops, Group) = (context, bound, ops, group);

    /// <summary>Its id there, above 0.</summary>
    public uint Id => bound.Id;

    public PciAddress Address => Ops.Device.Address;

    public IommuGroup Group { get; }

    public bool IsAttached { get; internal set; }

    internal IDeviceOps Ops { get; }

    /// <summary>
    /// Attaches it to an address space or page table, in place of what it is attached to (IO-101). Returns the id of the page table. Errors:
    /// ENOENT, EINVAL for an id of something else and for a group that is attached elsewhere, EBUSY while the device is being reset.
    /// </summary>
    public VfioResult<uint> Attach(uint ptId) => context.Attach(this, ptId);

    /// <summary>The same for a PASID: no function here has one. Errors: ENOENT, EINVAL.</summary>
    public VfioResult<uint> AttachPasid(uint ptId) => context.FindIoas(ptId) is null
        ? IommufdContext.NoObject.Error
        : new VfioError(Errno.EINVAL, "The device has no PASIDs; attach it without one.");

    /// <summary>Nothing happens where it is not attached (IO-102).</summary>
    public void Detach() => context.Detach(this);

    internal void Unbind() => context.Unbind(this, bound);

    internal void ConnectTo(Hwpt? table)
    {
        if (table is not null)
            Ops.AttachIoas(table.Ioas.Space);
    }
}
