using System.Text;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Models;

/// <summary>What each bench card's functions are.</summary>
internal static class BenchModels
{
    public const int MultiFunctions = 4;
    public const int MsixVectors = 8;

    private const ulong Page = 0x1000;
    private const int MsixBar = 2;
    private const uint MsixPending = 0x800;
    private const ulong RomBytes = 0x4000;

    private static readonly PciBar[] RegistersAndMsix =
        [new(BarKind.Memory64, Page), PciBar.None, new(BarKind.Memory64, Page), PciBar.None, PciBar.None, PciBar.None];

    private static readonly PciBar[] SmallPorts =
        [new(BarKind.Io, 0x20), new(BarKind.Memory32, 0x100, SharesPage: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private static readonly PciBar[] RegistersBelow4GiB =
        [new(BarKind.Memory32, Page), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private static readonly byte[] Vpd = VpdOf("Fabric bench card");

    /// <summary>A function of a card without ACS: what its functions send to each other passes no IOMMU, so they share a group.</summary>
    public static FunctionModel MultiFunction { get; } = Of(
        BenchIds.MultiFunction,
        RegistersAndMsix,
        pin: 1,
        isMultiFunction: true,
        capabilities:
        [
            StandardCapabilities.PowerManagement(noSoftReset: true),
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            StandardCapabilities.Msix(MsixVectors, MsixBar, tableOffset: 0, MsixPending),
            StandardCapabilities.Vpd(),
            StandardCapabilities.Vendor(scratch: 13),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.SerialNumber(0x0fab_0000_0000_0001),
        ]) with
    {
        ResetMethods = [ResetMethod.FunctionLevel],
        CanGrowMsix = true,
        Vpd = Vpd,
    };

    /// <summary>Older than PCI 2.3: its line cannot be kept quiet by DisINTx.</summary>
    public static FunctionModel Conventional { get; } = Of(
        BenchIds.Conventional,
        SmallPorts,
        pin: 1,
        hasInterruptDisable: false,
        capabilities: [StandardCapabilities.PowerManagement(noSoftReset: true), StandardCapabilities.AdvancedFeatures()]) with
    {
        ResetMethods = [ResetMethod.AdvancedFeatures, ResetMethod.Bus],
    };

    /// <summary>Its registers do not outlive D3hot: that is its reset.</summary>
    public static FunctionModel NoFunctionLevelReset { get; } = Of(
        BenchIds.NoFunctionLevelReset,
        RegistersBelow4GiB,
        pin: 1,
        rom: new PciRom(RomBytes, RomBytes, 0),
        capabilities:
        [
            StandardCapabilities.PowerManagement(noSoftReset: false, d1: true),
            StandardCapabilities.PciExpress(PciExpressType.LegacyEndpoint),
            StandardCapabilities.Msi(4, is64Bit: true, hasMask: true),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.AccessControl(),
        ]) with
    {
        ResetMethods = [ResetMethod.PowerManagement, ResetMethod.Bus],
        HostVectors = 2,
    };

    public static FunctionModel HungReset { get; } = Sound(BenchIds.HungReset) with { HangsInReset = true };

    /// <summary>Five seconds longer than a host waits.</summary>
    public static FunctionModel NotReady { get; } =
        Sound(BenchIds.NotReady) with { Fault = new ResetFault.NotReady(TimeSpan.FromSeconds(65)) };

    public static FunctionModel Null { get; } = Of(BenchIds.Null, FunctionModel.NoBars, pin: 0, isMultiFunction: true, capabilities: []) with
    {
        ResetMethods = [ResetMethod.DeviceSpecific],
    };

    private static FunctionModel Sound(ushort device) => Of(
        device,
        RegistersAndMsix,
        pin: 0,
        capabilities:
        [
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            StandardCapabilities.Msix(MsixVectors, MsixBar, tableOffset: 0, MsixPending),
            ExtendedCapabilities.Aer(),
        ]) with
    {
        ResetMethods = [ResetMethod.FunctionLevel],
    };

    private static FunctionModel Of(
        ushort device,
        IReadOnlyList<PciBar> bars,
        byte pin,
        CapabilityLayout[] capabilities,
        bool hasInterruptDisable = true,
        bool isMultiFunction = false,
        PciRom rom = default)
    {
        var ids = new PciIds(BenchIds.Vendor, device, BenchIds.Vendor, 1, BenchIds.ClassCode);
        var header = HeaderLayout.Endpoint(ids, bars, rom, pin, hasInterruptDisable, isMultiFunction);
        return new FunctionModel(ids, ConfigLayout.Of(header, [.. capabilities])) { Bars = bars, Rom = rom };
    }

    /// <summary>An identifier string and the end tag (PCI Local Bus 3.0, appendix I), to whole dwords.</summary>
    private static byte[] VpdOf(string name)
    {
        byte[] content = [0x82, (byte)name.Length, 0, .. Encoding.ASCII.GetBytes(name), 0x78];
        Array.Resize(ref content, (content.Length + 3) & ~3);
        return content;
    }
}
