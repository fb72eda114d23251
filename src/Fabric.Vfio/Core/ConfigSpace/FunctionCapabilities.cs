using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// What the core needs to know of a function's capabilities: the first of each kind, as hardware had it at open; null where there is none.
/// </summary>
/// <param name="Msi">Its vectors are the count of IRQ index MSI (IO-30).</param>
/// <param name="Msix">
/// Its table size is the count of IRQ index MSI-X (IO-30); its table is what reads and writes of a BAR leave alone (IO-111). Null where it
/// names no BAR.
/// </param>
/// <param name="Sriov">Makes the function one that VF tokens are for (LC-40).</param>
internal sealed record FunctionCapabilities(
    PowerManagementCapability? PowerManagement,
    MsiCapability? Msi,
    MsixCapability? Msix,
    PciExpressCapability? PciExpress,
    AdvancedFeaturesCapability? AdvancedFeatures,
    SriovCapability? Sriov)
{
    public static FunctionCapabilities Parse(ReadOnlySpan<byte> raw, ConfigMap map)
    {
        var found = new FunctionCapabilities(null, null, null, null, null, null);
        foreach (var (offset, _, _) in map.Standard)
            found = found.WithStandard(raw, offset);
        foreach (var (offset, _, rules) in map.Extended)
        {
            if (found.Sriov is null && rules == ConfigRules.Extended(ExtendedCapability.Sriov))
                found = found with { Sriov = SriovCapability.Parse(raw, offset) };
        }

        return found;
    }

    private FunctionCapabilities WithStandard(ReadOnlySpan<byte> raw, int offset) => (StandardCapability)raw[offset] switch
    {
        StandardCapability.PowerManagement => this with { PowerManagement = PowerManagement ?? PowerManagementCapability.Parse(raw, offset) },
        StandardCapability.Msi => this with { Msi = Msi ?? MsiCapability.Parse(raw, offset) },
        StandardCapability.Msix when MsixCapability.Parse(raw, offset) is { TableBar: < 6 } msix => this with { Msix = Msix ?? msix },
        StandardCapability.PciExpress => this with { PciExpress = PciExpress ?? PciExpressCapability.Parse(raw, offset) },
        StandardCapability.AdvancedFeatures => this with { AdvancedFeatures = AdvancedFeatures ?? AdvancedFeaturesCapability.Parse(raw, offset) },
        _ => this,
    };
}
