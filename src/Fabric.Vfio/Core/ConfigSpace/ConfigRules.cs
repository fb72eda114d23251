using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// The permission tables (contract §3.2, §3.5, §3.6): data, not code. A capability that is not here is hidden. That the next pointer of a
/// standard capability and the first dword of an extended one are virtual goes for all and is said once, where the chain is laid (CF-3).
/// </summary>
internal static class ConfigRules
{
    private const uint All = uint.MaxValue;

    /// <summary>What the BARs and the ROM BAR can hold depends on the function: those rows are in <see cref="BaseAddresses"/>.</summary>
    public static readonly CapabilityRules Header = new("header",
    [
        new("vendor", ConfigOffset.VendorId, 2, Virtual: All),
        new("device", ConfigOffset.DeviceId, 2, Virtual: All),
        new("command", ConfigOffset.Command, 2, Virtual: (uint)PciCommand.InterruptDisable, Writable: All),
        new("status", ConfigOffset.Status, 2, Virtual: (uint)PciStatus.CapabilitiesList),
        new("revision", ConfigOffset.Revision, 1),
        new("programming interface", ConfigOffset.ClassCode, 1),
        new("class", ConfigOffset.ClassCode + 1, 2),
        new("cache line size", ConfigOffset.CacheLineSize, 1, Writable: All),
        new("latency timer", ConfigOffset.LatencyTimer, 1, Writable: All),
        new("header type", ConfigOffset.HeaderType, 1),
        new("BIST", ConfigOffset.Bist, 1, Writable: All),
        new("CardBus CIS", ConfigOffset.CardBusCis, 4),
        new("subsystem vendor", ConfigOffset.SubsystemVendorId, 2),
        new("subsystem", ConfigOffset.SubsystemId, 2),
        new("capabilities pointer", ConfigOffset.CapabilitiesPointer, 1, Virtual: All),
        new("interrupt line", ConfigOffset.InterruptLine, 1, Virtual: All, Writable: All),
        new("interrupt pin", ConfigOffset.InterruptPin, 1, Virtual: All),
        new("minimum grant", ConfigOffset.MinimumGrant, 1),
        new("maximum latency", ConfigOffset.MaximumLatency, 1),
    ]);

    /// <summary>The first of the extended capabilities where it is hidden: it carries the chain on and is nothing else (CF-52).</summary>
    public static readonly CapabilityRules Placeholder = new("placeholder", []);

    private static readonly CapabilityRules PowerManagement = new("PM",
    [
        new("capabilities", PowerManagementCapability.Capabilities, 2, Virtual: PowerManagementCapability.PmeSupport),
        new("control and status", PowerManagementCapability.ControlStatus, 2,
            Virtual: PowerManagementCapability.PmeEnable | PowerManagementCapability.PmeStatus,
            Writable: All & ~(uint)(PowerManagementCapability.StateMask | PowerManagementCapability.PmeEnable | PowerManagementCapability.PmeStatus),
            ClearedByOne: PowerManagementCapability.PmeStatus),
    ], Action: WriteAction.PowerManagement, ActionBytes: PowerManagementCapability.Length);

    private static readonly CapabilityRules VitalProduct = new("VPD",
    [
        new("address", VitalProductData.Address, 2, Virtual: All, Writable: All),
        new("data", VitalProductData.Data, 4, Virtual: All, Writable: All),
    ], Action: WriteAction.VitalProductData, ActionBytes: VitalProductData.Length);

    private static readonly CapabilityRules Msi32 = Msi(is64Bit: false, hasMask: false);
    private static readonly CapabilityRules Msi64 = Msi(is64Bit: true, hasMask: false);
    private static readonly CapabilityRules Msi32Masked = Msi(is64Bit: false, hasMask: true);
    private static readonly CapabilityRules Msi64Masked = Msi(is64Bit: true, hasMask: true);

    private static readonly CapabilityRules PciXRules = new("PCI-X",
    [
        new("command", PciX.Command, 2, Writable: All),
        new("status", PciX.Status, 4),
        new("ECC control and status", PciX.EccControl, 4, Writable: All),
    ]);

    private static readonly CapabilityRules PciExpress = new("PCIe",
    [
        new("flags", PciExpressCapability.Flags, 2),
        new("device capabilities", PciExpressCapability.DeviceCapabilities, 4),
        new("device control", PciExpressCapability.DeviceControl, 2,
            Virtual: PciExpressCapability.InitiateFunctionLevelReset | PciExpressCapability.MaxPayload | PciExpressCapability.MaxReadRequest,
            Writable: All & ~(uint)PciExpressCapability.PhantomFunctions),
        new("device status", PciExpressCapability.DeviceStatus, 2),
        new("link control", PciExpressCapability.LinkControl, 2),
        new("device control 2", PciExpressCapability.DeviceControl2, 2, Writable: All & ~(uint)PciExpressCapability.AriForwarding),
        new("link control 2", PciExpressCapability.LinkControl2, 2),
    ], Action: WriteAction.PciExpress, ActionBytes: 12);

    private static readonly CapabilityRules Msix = new("MSI-X",
    [
        new("control", MsixCapability.Control, 2),
        new("table", MsixCapability.Table, 4),
        new("pending", MsixCapability.Pending, 4),
    ]);

    private static readonly CapabilityRules AdvancedFeatures = new("AF",
    [
        new("capabilities", AdvancedFeaturesCapability.Capabilities, 1),
        new("control", AdvancedFeaturesCapability.Control, 1,
            Virtual: AdvancedFeaturesCapability.InitiateFunctionLevelReset, Writable: AdvancedFeaturesCapability.InitiateFunctionLevelReset),
        new("status", AdvancedFeaturesCapability.Status, 1),
    ], Action: WriteAction.AdvancedFeatures, ActionBytes: AdvancedFeaturesCapability.Length);

    private static readonly CapabilityRules Aer = new("AER",
    [
        new("uncorrectable status", AerRegister.UncorrectableStatus, 4, Writable: AerRegister.UncorrectableErrors),
        new("uncorrectable mask", AerRegister.UncorrectableMask, 4, Writable: AerRegister.UncorrectableErrors),
        new("uncorrectable severity", AerRegister.UncorrectableSeverity, 4, Writable: AerRegister.UncorrectableErrors),
        new("correctable status", AerRegister.CorrectableStatus, 4, Writable: AerRegister.CorrectableErrors),
        new("correctable mask", AerRegister.CorrectableMask, 4, Writable: AerRegister.CorrectableErrors),
        new("control", AerRegister.Control, 4, Writable: AerRegister.EcrcGenerationEnable | AerRegister.EcrcCheckEnable),
    ]);

    private static readonly CapabilityRules Power = new("power budgeting",
    [
        new("data select", PowerBudget.DataSelect, 1, Writable: All),
        new("data", PowerBudget.Data, 4),
    ]);

    private static readonly CapabilityRules Sriov = new("SR-IOV",
    [
        new("control", SriovCapability.Control, 2),
        new("initial VFs", SriovCapability.InitialVfCount, 2),
        new("total VFs", SriovCapability.TotalVfCount, 2),
        new("number of VFs", SriovCapability.NumVfs, 2),
    ]);

    private static readonly ImmutableArray<CapabilityRules?> StandardTable = Table<StandardCapability>(
    [
        (StandardCapability.PowerManagement, PowerManagement),
        (StandardCapability.Agp, new("AGP", [])),
        (StandardCapability.VitalProductData, VitalProduct),
        (StandardCapability.PciX, PciXRules),
        (StandardCapability.HyperTransport, new("HyperTransport", [])),
        (StandardCapability.VendorSpecific, new("vendor", [], RawBody: true)),
        (StandardCapability.PciExpress, PciExpress),
        (StandardCapability.Msix, Msix),
        (StandardCapability.Sata, new("SATA", [])),
        (StandardCapability.AdvancedFeatures, AdvancedFeatures),
    ], id => (int)id);

    private static readonly ImmutableArray<CapabilityRules?> ExtendedTable = Table<ExtendedCapability>(
    [
        (ExtendedCapability.Aer, Aer),
        (ExtendedCapability.VirtualChannel, new("VC", [])),
        (ExtendedCapability.DeviceSerialNumber, new("serial number", [new("low", 4, 4), new("high", 8, 4)])),
        (ExtendedCapability.PowerBudgeting, Power),
        (ExtendedCapability.MultiFunctionVirtualChannel, new("MFVC", [])),
        (ExtendedCapability.VirtualChannelOfMultiFunction, new("VC9", [])),
        (ExtendedCapability.VendorSpecific, new("VSEC", [], RawBody: true)),
        (ExtendedCapability.AccessControl, new("ACS", [new("capability", 4, 2), new("control", 6, 2)])),
        (ExtendedCapability.AlternativeRoutingId, new("ARI", [new("capability", 4, 2), new("control", 6, 2)])),
        (ExtendedCapability.AddressTranslation, new("ATS", [new("capability", 4, 2), new("control", 6, 2)])),
        (ExtendedCapability.Sriov, Sriov),
        (ExtendedCapability.Multicast, new("multicast", [])),
        (ExtendedCapability.PageRequest, new("PRI", [new("control", 4, 2), new("status", 6, 2)])),
        (ExtendedCapability.ResizableBar, new("resizable BAR", [])),
        (ExtendedCapability.DynamicPowerAllocation, new("DPA", [])),
        (ExtendedCapability.TphRequester, new("TPH", [])),
        (ExtendedCapability.LatencyTolerance, new("LTR", [])),
        (ExtendedCapability.DesignatedVendorSpecific, new("DVSEC", [], RawBody: true)),
    ], id => (int)id);

    /// <summary>The rules of a standard capability; null where it is hidden.</summary>
    /// <param name="config">Raw config space: which registers MSI has is in its control word.</param>
    public static CapabilityRules? Standard(StandardCapability id, ReadOnlySpan<byte> config, int offset)
    {
        if (id != StandardCapability.Msi)
            return (int)id < StandardTable.Length ? StandardTable[(int)id] : null;
        var msi = MsiCapability.Parse(config, offset);
        return (msi.Is64Bit, msi.HasMask) switch
        {
            (false, false) => Msi32,
            (true, false) => Msi64,
            (false, true) => Msi32Masked,
            (true, true) => Msi64Masked,
        };
    }

    /// <summary>The rules of an extended capability; null where it is hidden.</summary>
    public static CapabilityRules? Extended(ExtendedCapability id) => (int)id < ExtendedTable.Length ? ExtendedTable[(int)id] : null;

    /// <summary>
    /// CF-40. Of the control byte's bits, those are writable that software owns: that a write of the capable field would stick has no use.
    /// </summary>
    private static CapabilityRules Msi(bool is64Bit, bool hasMask)
    {
        var registers = ImmutableArray.CreateBuilder<ConfigRegister>();
        registers.Add(new("control", MsiCapability.Control, 1, Virtual: All, Writable: MsiCapability.Enable | MsiCapability.MultipleMessageEnable));
        registers.Add(new("address", MsiCapability.AddressLow, 4, Virtual: All, Writable: All));
        if (is64Bit)
            registers.Add(new("upper address", MsiCapability.AddressHigh, 4, Virtual: All, Writable: All));
        registers.Add(new("data", MsiCapability.DataAt(is64Bit), 2, Virtual: All, Writable: All));
        if (hasMask)
        {
            registers.Add(new("mask", MsiCapability.MaskAt(is64Bit), 4, Writable: All));
            registers.Add(new("pending", MsiCapability.MaskAt(is64Bit) + 4, 4, Writable: All));
        }

        return new CapabilityRules("MSI", registers.ToImmutable(), Action: WriteAction.Msi, ActionBytes: 4);
    }

    private static ImmutableArray<CapabilityRules?> Table<TId>((TId Id, CapabilityRules Rules)[] rows, Func<TId, int> number)
    {
        var table = new CapabilityRules?[rows.Max(row => number(row.Id)) + 1];
        foreach (var (id, rules) in rows)
            table[number(id)] = rules;
        return [.. table];
    }
}
