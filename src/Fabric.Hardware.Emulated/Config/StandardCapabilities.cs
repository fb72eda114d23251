using System.Collections.Immutable;
using System.Numerics;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>The standard capabilities that emulated functions have, as data.</summary>
internal static class StandardCapabilities
{
    /// <summary>PCI PM 1.2, 3.2. D1 and D2 only where they are said to be there.</summary>
    public static CapabilityLayout PowerManagement(bool noSoftReset, bool d1 = false, bool d2 = false) => CapabilityLayout.Standard(
        StandardCapability.PowerManagement,
        PowerManagementCapability.Length,
        new RegisterRow(PowerManagementCapability.Capabilities, 2, 3u | (d1 ? 1u << 9 : 0) | (d2 ? 1u << 10 : 0)),
        new RegisterRow(
            PowerManagementCapability.ControlStatus,
            2,
            noSoftReset ? PowerManagementCapability.NoSoftResetBit : 0u,
            Writable: PowerManagementCapability.StateMask | PowerManagementCapability.PmeEnable,
            ClearedByOne: PowerManagementCapability.PmeStatus));

    /// <summary>PCIe 6.0, 7.5.3, version 2. A link of 16 GT/s and 16 lanes.</summary>
    public static CapabilityLayout PciExpress(
        PciExpressType type, bool functionLevelReset = false, bool hasSlot = false) => CapabilityLayout.Standard(
        StandardCapability.PciExpress,
        52,
        new RegisterRow(PciExpressCapability.Flags, 2, 2u | ((uint)type << 4) | (hasSlot ? 1u << 8 : 0)),
        new RegisterRow(PciExpressCapability.DeviceCapabilities, 4, 0x8000u | 2 | (functionLevelReset ? 1u << 28 : 0)),
        new RegisterRow(PciExpressCapability.DeviceControl, 2, 0x2810, Writable: 0x7fff),
        new RegisterRow(PciExpressCapability.DeviceStatus, 2, ClearedByOne: 0xf),
        new RegisterRow(0x0c, 4, 0x0000_0104),
        new RegisterRow(PciExpressCapability.LinkControl, 2, Writable: 0x01cb),
        new RegisterRow(0x12, 2, 0x1104),
        new RegisterRow(0x14, 4, hasSlot ? HotPlugSlot : 0),
        new RegisterRow(0x24, 4, 0x1f),
        new RegisterRow(PciExpressCapability.DeviceControl2, 2, Writable: 0x001f | PciExpressCapability.AriForwarding),
        new RegisterRow(PciExpressCapability.LinkControl2, 2, 4, Writable: 0xffff));

    /// <summary>Attention button, power controller, hot-plug surprise and hot-plug capable.</summary>
    private const uint HotPlugSlot = 0x63;

    /// <summary>PCI Local Bus 3.0, 6.8.1.</summary>
    public static CapabilityLayout Msi(int vectors, bool is64Bit, bool hasMask)
    {
        var capability = new MsiCapability(0, vectors, is64Bit, hasMask);
        var rows = ImmutableArray.CreateBuilder<RegisterRow>();
        var capable = (uint)BitOperations.Log2((uint)vectors) << MsiCapability.MultipleMessageCapableShift;
        var control = capable | (is64Bit ? 1u << 7 : 0) | (hasMask ? 1u << 8 : 0);
        rows.Add(new RegisterRow(MsiCapability.Control, 2, control, Writable: MsiCapability.Enable | MsiCapability.MultipleMessageEnable));
        rows.Add(new RegisterRow(MsiCapability.AddressLow, 4, Writable: 0xffff_fffc));
        if (is64Bit)
            rows.Add(new RegisterRow(MsiCapability.AddressHigh, 4, Writable: uint.MaxValue));
        rows.Add(new RegisterRow(capability.Data, 2, Writable: ushort.MaxValue));
        if (hasMask)
            rows.Add(new RegisterRow(capability.Mask, 4, Writable: vectors == 32 ? uint.MaxValue : (1u << vectors) - 1));
        return new CapabilityLayout((ushort)StandardCapability.Msi, 0, IsExtended: false, capability.Length, rows.ToImmutable());
    }

    /// <summary>PCI Local Bus 3.0, 6.8.2: table and pending bits in one BAR.</summary>
    public static CapabilityLayout Msix(int vectors, int bar, uint tableOffset, uint pendingOffset) => CapabilityLayout.Standard(
        StandardCapability.Msix,
        MsixCapability.Length,
        new RegisterRow(MsixCapability.Control, 2, (uint)vectors - 1, Writable: MsixCapability.Enable | MsixCapability.FunctionMask),
        new RegisterRow(MsixCapability.Table, 4, tableOffset | (uint)bar),
        new RegisterRow(MsixCapability.Pending, 4, pendingOffset | (uint)bar));

    /// <summary>Advanced features with FLR and transactions-pending (PCI Advanced Capabilities ECN).</summary>
    public static CapabilityLayout AdvancedFeatures() => CapabilityLayout.Standard(
        StandardCapability.AdvancedFeatures,
        AdvancedFeaturesCapability.Length,
        new RegisterRow(2, 1, AdvancedFeaturesCapability.Length),
        new RegisterRow(AdvancedFeaturesCapability.Capabilities, 1, 3));

    /// <summary>PCI Local Bus 3.0, appendix I.</summary>
    public static CapabilityLayout Vpd() => CapabilityLayout.Standard(
        StandardCapability.VitalProductData,
        VitalProductData.Length,
        new RegisterRow(VitalProductData.Address, 2, Writable: ushort.MaxValue),
        new RegisterRow(VitalProductData.Data, 4, Writable: uint.MaxValue));

    /// <summary>The vendor's own: a length and that much scratch.</summary>
    /// <param name="scratch">Bytes, a multiple of 4 less 3.</param>
    public static CapabilityLayout Vendor(int scratch) => CapabilityLayout.Standard(
        StandardCapability.VendorSpecific,
        3 + scratch,
        [
            new RegisterRow(2, 1, (uint)(3 + scratch)),
            .. Enumerable.Range(3, scratch).Select(static at => new RegisterRow(at, 1, Writable: byte.MaxValue)),
        ]);
}
