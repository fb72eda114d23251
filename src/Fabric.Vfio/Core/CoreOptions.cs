namespace Fabric.Vfio.Core;

/// <summary>
/// The module parameters of vfio-pci. A device keeps those it was registered with (LC-2).
/// </summary>
/// <param name="NoIntxMask">Treats no device as able to mask INTx by DisINTx.</param>
/// <param name="DisableIdleD3">A device that nobody uses stays in D0 (LC-4).</param>
/// <param name="DisableVga">No device gets the legacy VGA region.</param>
/// <param name="DisableDenylist">Devices of the denylist are taken.</param>
/// <param name="EnableSriov">Plain vfio-pci may make VFs (SV-5).</param>
/// <param name="AllowNoIommu">Devices without an IOMMU group are taken (LC-5). Their DMA reaches all memory: opening one takes CAP_SYS_RAWIO.</param>
public sealed record CoreOptions(
    bool NoIntxMask = false,
    bool DisableIdleD3 = false,
    bool DisableVga = false,
    bool DisableDenylist = false,
    bool EnableSriov = false,
    bool AllowNoIommu = false)
{
    public static CoreOptions Default { get; } = new();
}
