using Fabric.Hardware.Emulated.Config;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Models;

/// <summary>What all functions of one kind have in common. Immutable; one for all of them.</summary>
internal sealed record FunctionModel(PciIds Ids, ConfigLayout Layout)
{
    public static IReadOnlyList<PciBar> NoBars { get; } = new PciBar[ConfigOffset.BarCount];

    public FunctionTraits Traits { get; init; }

    /// <summary>Six entries.</summary>
    public IReadOnlyList<PciBar> Bars { get; init; } = NoBars;

    public PciRom Rom { get; init; }

    public IReadOnlyList<string> ResetMethods { get; init; } = [];

    /// <summary>MSI-X vectors can be added while some are in use.</summary>
    public bool CanGrowMsix { get; init; }

    /// <summary>Vectors that the host has for it.</summary>
    public int HostVectors { get; init; } = int.MaxValue;

    /// <summary>What is wrong with its resets from the start.</summary>
    public ResetFault? Fault { get; init; }

    /// <summary>Its resets hang from the start.</summary>
    public bool HangsInReset { get; init; }

    /// <summary>What there is of it beside itself.</summary>
    public IFunctionPlatform Platform { get; init; } = IFunctionPlatform.None;

    /// <summary>Content of its vital product data.</summary>
    public ReadOnlyMemory<byte> Vpd { get; init; }
}
