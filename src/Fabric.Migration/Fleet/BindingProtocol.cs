namespace Fabric.Migration.Fleet;

/// <summary>What an operator has a host do with the kernel's drivers of its real functions.</summary>
public interface IBindingOperation : IHostOperation
{
    /// <summary>PCI address on that host.</summary>
    string Device { get; }

    /// <summary>Who asks.</summary>
    string By { get; }

    string IHostOperation.Subject => Device;
}

/// <summary>
/// Gives a real function to vfio-pci, by driver_override, and hands it out; again after each start of the daemon. Answered with
/// <see cref="OperationDone"/>. Errors: ENODEV no such function; EINVAL no IOMMU serves it, or vfio-pci is not loaded or does not take it; EBUSY the
/// machine needs it, or others of its group are in the way; EACCES; EIO. On an error it is as it was.
/// </summary>
/// <param name="Force">Though the machine needs it: a mounted disk, an interface with routes.</param>
/// <param name="Group">With the functions of its IOMMU group that are in the way.</param>
public sealed record BindFunction(string Device, bool Force, bool Group, string By) : IBindingOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>
/// Takes a function back that nobody holds, and gives it to the driver that it had. Answered with <see cref="OperationDone"/>. Errors: ENOENT no
/// operator had it taken; EINVAL the settings have; EBUSY somebody holds it, or others of its group are handed out; EACCES; EIO. On an error it is as
/// it was.
/// </summary>
/// <param name="Group">With what else of its IOMMU group is handed out.</param>
public sealed record UnbindFunction(string Device, bool Group, string By) : IBindingOperation
{
    public bool PlanOnly { get; init; }
}
