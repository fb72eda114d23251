using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Sriov;

/// <summary>The plainest config space of a commanded card: function-level reset and AER, and the PF's SR-IOV.</summary>
internal static class CommandedModels
{
    private static readonly string[] Resets = [ResetMethod.FunctionLevel];

    /// <summary>A PF without BARs: what its registers are is between it and its driver, which comes with the card.</summary>
    public static FunctionModel Physical(PciIds ids, int totalVfs, ushort virtualFunction, IReadOnlyList<PciBar> virtualBars) => new(
        ids,
        ConfigLayout.Of(
            HeaderLayout.Endpoint(ids, FunctionModel.NoBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false),
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.AlternativeRoutingId(),
            ExtendedCapabilities.Sriov((ushort)totalVfs, virtualFunction, virtualBars)))
    {
        ResetMethods = Resets,
    };

    public static FunctionModel Virtual(PciIds ids, IReadOnlyList<PciBar> bars) => new(
        ids,
        ConfigLayout.Of(
            HeaderLayout.VirtualFunction(ids),
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            ExtendedCapabilities.Aer()))
    {
        Traits = FunctionTraits.VirtualFunction,
        Bars = bars,
        ResetMethods = Resets,
    };

    public static VfioResult NoBars => VfioResult.Fail(Errno.EIO, "The physical function has no BARs.");
}
