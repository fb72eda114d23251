using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>How the functions below a port are put into IOMMU groups.</summary>
internal enum Grouping
{
    /// <summary>Each has one of its own: whatever passes between them is controlled.</summary>
    PerFunction,

    /// <summary>All share one: nothing controls what passes between them (no ACS).</summary>
    Together,

    /// <summary>All share one with the bridge itself, which sends their requests under its own routing id.</summary>
    WithBridge,
}

/// <summary>What a port is and what hangs below it.</summary>
/// <param name="Reset">What a hot reset around a function below is called; null where there is none.</param>
/// <param name="HasPowerController">Its slot can be turned off and on.</param>
internal sealed record PortTraits(FunctionModel Model, Grouping Grouping, HotResetKind? Reset, bool HasPowerController)
{
    public static PortTraits Slot(Grouping grouping = Grouping.PerFunction) =>
        new(PortModels.HotPlugSlot, grouping, HotResetKind.Slot, HasPowerController: true);

    /// <summary>Soldered down: no slot, so no slot reset, and no power of its own.</summary>
    public static PortTraits Soldered(Grouping grouping = Grouping.PerFunction) =>
        new(PortModels.RootPort, grouping, HotResetKind.Bus, HasPowerController: false);

    /// <summary>Neither its slot nor its bus can be reset around a function.</summary>
    public static PortTraits Unresettable { get; } = new(PortModels.RootPort, Grouping.PerFunction, Reset: null, HasPowerController: false);

    public static PortTraits ConventionalBridge { get; } = new(PortModels.Bridge, Grouping.WithBridge, HotResetKind.Bus, HasPowerController: false);
}

internal static class PortModels
{
    private const ushort Vendor = 0x1b36;
    private const uint PciBridge = 0x060400;

    /// <summary>PCI Express to PCI bridge (PCIe 6.0, 7.5.3.2).</summary>
    private const PciExpressType ToConventional = (PciExpressType)7;

    public static FunctionModel HotPlugSlot { get; } = RootPortWith(hasSlot: true, device: 0x000c);

    public static FunctionModel RootPort { get; } = RootPortWith(hasSlot: false, device: 0x000d);

    public static FunctionModel Bridge { get; } = Of(
        new PciIds(Vendor, 0x000e, Class: PciBridge),
        StandardCapabilities.PciExpress(ToConventional), StandardCapabilities.PowerManagement(noSoftReset: true), ExtendedCapabilities.Aer());

    private static FunctionModel RootPortWith(bool hasSlot, ushort device) => Of(
        new PciIds(Vendor, device, Class: PciBridge),
        StandardCapabilities.PciExpress(PciExpressType.RootPort, hasSlot: hasSlot),
        StandardCapabilities.PowerManagement(noSoftReset: true),
        ExtendedCapabilities.Aer(),
        ExtendedCapabilities.AccessControl());

    private static FunctionModel Of(PciIds ids, params CapabilityLayout[] capabilities) =>
        new(ids, ConfigLayout.Of(HeaderLayout.Bridge(ids), [.. capabilities]));
}

/// <summary>
/// A root port or a bridge: a type-1 function, which nobody is handed. Its bus numbers are given back after a reset, as a port's driver does.
/// </summary>
internal sealed class EmulatedPort : EmulatedFunction
{
    private readonly PciAddress address;

    public EmulatedPort(PciAddress address, EmulatedPort? above, PortTraits traits, byte secondary)
        : base(address, traits.Model)
    {
        (this.address, Above, Traits, Secondary, Subordinate) = (address, above, traits, secondary, secondary);
        lock (Clock)
            PutBusNumbers();
    }

    /// <summary>The port above a bridge; null for a root port.</summary>
    public EmulatedPort? Above { get; }

    public new PortTraits Traits { get; }

    /// <summary>The bus below.</summary>
    public byte Secondary { get; }

    /// <summary>The last bus below.</summary>
    public byte Subordinate { get; private set; }

    /// <summary>Whether an address lies below.</summary>
    public bool IsAbove(PciAddress other) => other.Domain == address.Domain && other.Bus >= Secondary && other.Bus <= Subordinate;

    /// <summary>One more bus below, while the bus is built.</summary>
    public void Extend(byte subordinate)
    {
        Subordinate = subordinate;
        lock (Clock)
            PutBusNumbers();
        Above?.Extend(subordinate);
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        // It moves what others send, and sends nothing itself.
    }

    internal override EmulatedFunction Renew() => throw new InvalidOperationException("A port is not pulled out.");

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination) => NoBar;

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => NoBar;

    private protected override ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source) =>
        (Written(BridgeControl.Offset, offset, source) & BridgeControl.SecondaryBusReset) != 0 ? ConfigEffects.SecondaryBusReset : ConfigEffects.None;

    private protected override void OnReset() => PutBusNumbers();

    private static VfioResult NoBar => VfioResult.Fail(Errno.EIO, "The function does not decode this BAR.");

    private void PutBusNumbers()
    {
        Put16(0x18, address.Bus | (Secondary << 8));
        Put16(0x1a, Subordinate);
    }
}
