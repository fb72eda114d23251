using System.Numerics;

namespace Fabric.Pci.Capabilities;

/// <summary>
/// How many bytes a capability takes, its header included, by what hardware says of it; no more than there are to the end of its space.
/// 0 where the length is not known.
/// </summary>
public static class CapabilityLength
{
    public static int Standard(ReadOnlySpan<byte> config, int offset) =>
        Math.Min(StandardBytes(config, offset), ConfigOffset.ConventionalSize - offset);

    public static int Extended(ReadOnlySpan<byte> config, int offset) => Math.Min(ExtendedBytes(config, offset), config.Length - offset);

    private static int StandardBytes(ReadOnlySpan<byte> config, int offset) => (StandardCapability)config[offset] switch
    {
        StandardCapability.PowerManagement => PowerManagementCapability.Length,
        StandardCapability.Agp => 12,
        StandardCapability.VitalProductData => VitalProductData.Length,
        StandardCapability.Msi => MsiCapability.Parse(config, offset).Length,
        StandardCapability.PciX => PciX.HasVersion(RawConfig.Word(config, offset + PciX.Command)) ? PciX.LengthOfVersion2 : PciX.Length,
        // Host and slave primary interfaces, told by three bits of their type that are 0, are the long ones (HyperTransport 3.1, 7.5).
        StandardCapability.HyperTransport => (RawConfig.Byte(config, offset + 3) & 0xe0) == 0 ? 28 : 24,
        StandardCapability.VendorSpecific => RawConfig.Byte(config, offset + 2),
        StandardCapability.PciExpress => PciExpressCapability.Parse(config, offset).Length,
        StandardCapability.Msix => MsixCapability.Length,
        // The index and data pair is in the capability itself, or (0xf) in config space behind it (SATA AHCI 1.3, 2.4).
        StandardCapability.Sata => (RawConfig.Byte(config, offset + 4) & 0xf) == 0xf ? 16 : 8,
        StandardCapability.AdvancedFeatures => AdvancedFeaturesCapability.Length,
        _ => 0,
    };

    private static int ExtendedBytes(ReadOnlySpan<byte> config, int offset) => (ExtendedCapability)RawConfig.Word(config, offset) switch
    {
        ExtendedCapability.Aer => AerRegister.Length,
        ExtendedCapability.VirtualChannel or ExtendedCapability.MultiFunctionVirtualChannel or ExtendedCapability.VirtualChannelOfMultiFunction =>
            VirtualChannels(RawConfig.Dword(config, offset + 4), RawConfig.Dword(config, offset + 8)),
        ExtendedCapability.DeviceSerialNumber => 12,
        ExtendedCapability.PowerBudgeting => PowerBudget.Length,
        ExtendedCapability.VendorSpecific or ExtendedCapability.DesignatedVendorSpecific => (int)(RawConfig.Dword(config, offset + 4) >> 20),
        ExtendedCapability.AccessControl => AccessControl(RawConfig.Byte(config, offset + 4), RawConfig.Byte(config, offset + 5)),
        ExtendedCapability.AlternativeRoutingId or ExtendedCapability.AddressTranslation or ExtendedCapability.LatencyTolerance => 8,
        ExtendedCapability.Sriov => SriovCapability.Length,
        ExtendedCapability.Multicast => 48,
        ExtendedCapability.PageRequest => 16,
        ExtendedCapability.ResizableBar => 4 + (8 * (RawConfig.Byte(config, offset + 8) >> 5)),
        ExtendedCapability.DynamicPowerAllocation => 16 + (RawConfig.Byte(config, offset + 4) & 0x1f) + 1,
        ExtendedCapability.TphRequester => TphRequester(RawConfig.Dword(config, offset + 4)),
        _ => 0,
    };

    /// <summary>A port part, twelve bytes a channel, then an arbitration table of 4 bits a phase (PCIe 6.0, 7.9.1).</summary>
    private static int VirtualChannels(uint capability1, uint capability2)
    {
        var channels = 16 + (12 * (1 + (int)(capability1 & 7)));
        var phases = (capability2 & 0xe) == 0 ? 0 : 16 << BitOperations.Log2(capability2 & 0xe);
        return phases == 0 ? channels : ((channels + 15) & ~15) + (phases / 2);
    }

    /// <summary>With egress control, one bit a port follows, in whole dwords; a count of 0 stands for 256 (PCIe 6.0, 7.7.8).</summary>
    private static int AccessControl(byte capability, byte egressBits)
    {
        if ((capability & 0x20) == 0)
            return 8;
        var bits = egressBits == 0 ? 256 : (egressBits + 31) & ~31;
        return 8 + (bits / 8);
    }

    /// <summary>The steering table may be part of the capability (PCIe 6.0, 7.9.13).</summary>
    private static int TphRequester(uint capability) => (capability & 0x600) == 0x200 ? 12 + (2 * (int)(((capability >> 16) & 0x7ff) + 1)) : 12;
}
