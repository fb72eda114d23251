using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mdev;

/// <summary>
/// What mediated displays have in common: a conventional function whose memory answers whatever COMMAND says, for its host looks at it too (CF-13).
/// </summary>
internal static class DisplayModels
{
    public static FunctionModel Of(PciIds ids, PciBar[] bars, params CapabilityLayout[] capabilities)
    {
        var header = HeaderLayout.Endpoint(ids, bars, rom: default, pin: 0, hasInterruptDisable: false, isMultiFunction: false);
        return new FunctionModel(ids, ConfigLayout.Of(header, [.. capabilities]))
        {
            Traits = FunctionTraits.NoMemoryEnable,
            Bars = bars,
            ResetMethods = [ResetMethod.DeviceSpecific],
        };
    }
}
