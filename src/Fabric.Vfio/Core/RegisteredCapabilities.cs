using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core;

/// <summary>
/// What the core needs to know of a function's capabilities for as long as it is registered, open or not. One that config space cuts off is
/// none.
/// </summary>
internal readonly record struct RegisteredCapabilities(PowerManagementCapability? PowerManagement, SriovCapability? Sriov)
{
    public static RegisteredCapabilities Of(IPciFunction function)
    {
        var raw = new byte[function.ConfigSize];
        function.ReadConfig(0, raw);
        PowerManagementCapability? power = null;
        SriovCapability? sriov = null;
        foreach (var entry in CapabilityWalk.Standard(raw))
        {
            if (power is null && entry.Id == StandardCapability.PowerManagement &&
                CapabilityLength.Standard(raw, entry.Offset) == PowerManagementCapability.Length)
            {
                power = PowerManagementCapability.Parse(raw, entry.Offset);
            }
        }

        foreach (var entry in CapabilityWalk.Extended(raw))
        {
            if (sriov is null && entry.Id == ExtendedCapability.Sriov && !function.IsVirtualFunction &&
                CapabilityLength.Extended(raw, entry.Offset) == SriovCapability.Length)
            {
                sriov = SriovCapability.Parse(raw, entry.Offset);
            }
        }

        return new RegisteredCapabilities(power, sriov);
    }
}
