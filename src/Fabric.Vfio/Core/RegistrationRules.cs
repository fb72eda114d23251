using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Migration;

namespace Fabric.Vfio.Core;

/// <summary>How far a device is from being known to being gone.</summary>
public enum RegistrationState
{
    Registered,

    /// <summary>Found by nobody any more, and waiting for its last reference (LC-32).</summary>
    Unregistering,

    Unregistered,
}

/// <summary>What a function and its driver must be for the core to take them (LC-2, LC-3, LC-5), in the kernel's order.</summary>
internal static class RegistrationRules
{
    public static VfioResult Check(IPciFunction function, DriverDeclaration driver, CoreOptions options, IPciBus? bus)
    {
        if (driver.HasDenylist && (function.Traits & FunctionTraits.Denied) != 0 && !options.DisableDenylist)
            return Fail(Errno.EINVAL, "This device is on the denylist; turn the denylist off to take it all the same.");
        if (string.IsNullOrEmpty(driver.Name))
            return Fail(Errno.EINVAL, "The driver has no name.");
        if ((function.Read8(ConfigOffset.HeaderType) & 0x7f) != 0)
            return Fail(Errno.EINVAL, "Only type-0 functions can be handed out; this one is a bridge.");
        if (driver.Migration != MigrationCallbacks.None &&
            (driver.Migration != MigrationCallbacks.All || (driver.MigrationFlags & MigrationFlags.StopCopy) == 0))
        {
            return Fail(Errno.EINVAL, "A driver that migrates has all three callbacks of migration, and flag STOP_COPY.");
        }

        if (driver.Logging is not (LoggingCallbacks.None or LoggingCallbacks.All))
            return Fail(Errno.EINVAL, "A driver that logs DMA has all three callbacks of logging.");
        if (HasVirtualFunctions(function, bus))
            return Fail(Errno.EBUSY, "Another driver has made VFs of this function; remove them first.");
        if (function.IommuGroup is null && !options.AllowNoIommu)
            return Fail(Errno.EINVAL, "No IOMMU stands in front of this function; allow no-IOMMU mode to take it all the same.");
        return (function.Traits & FunctionTraits.NonCoherentDma) != 0
            ? Fail(Errno.EINVAL, "The function's IOMMU cannot enforce cache coherency.")
            : VfioResult.Ok;
    }

    /// <summary>Only of a function with the SR-IOV capability can there be VFs: for all others the bus is not searched.</summary>
    private static bool HasVirtualFunctions(IPciFunction function, IPciBus? bus) =>
        RegisteredCapabilities.Of(function).Sriov is { } sriov &&
        ((function.Read16(sriov.Offset + SriovCapability.Control) & VfEnable) != 0 ||
            (bus is not null && bus.Functions.Any(candidate => candidate.IsVirtualFunction && candidate.PhysicalFunction == function.Address)));

    private const int VfEnable = 1 << 0;

    private static VfioResult Fail(Errno errno, string sentence) => VfioResult.Fail(errno, sentence);
}
