using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>One capability of a kind, with the length that it must be given.</summary>
/// <param name="Body">From byte 2 of a standard, byte 4 of an extended capability on.</param>
/// <param name="Masks">Its name in <see cref="ExpectedMasks"/>; null where it is hidden.</param>
internal sealed record CapabilitySample(string? Masks, int Id, int Length, bool IsExtended, params byte[] Body)
{
    public override string ToString() => $"{(IsExtended ? "extended" : "standard")} {Id:x2} {Masks}";

    public void AddTo(ConfigBuilder builder, int offset)
    {
        if (IsExtended)
            builder.Extended((ExtendedCapability)Id, offset, Body);
        else
            builder.Standard((StandardCapability)Id, offset, Body);
    }
}

/// <summary>Every kind of capability, visible and hidden (contract §3.5, §3.6).</summary>
internal static class CapabilitySamples
{
    public static readonly CapabilitySample[] Standard =
    [
        new("PM", 0x01, 8, false, 0x03, 0xfe, 0x08, 0x80),
        new("AGP", 0x02, 12, false),
        new("VPD", 0x03, 8, false),
        new("MSI32", 0x05, 10, false, 0x0a, 0x00),
        new("MSI64", 0x05, 14, false, 0x8a, 0x00),
        new("MSI32M", 0x05, 20, false, 0x0a, 0x01),
        new("MSI64M", 0x05, 24, false, 0x8a, 0x01),
        new("PCIX", 0x07, 8, false),
        new("PCIX2", 0x07, 24, false, 0x00, 0x10),
        new("HT", 0x08, 28, false),
        new("HT", 0x08, 24, false, 0x00, 0x20),
        new("VNDR", 0x09, 12, false, 12),
        new("EXP1RC", 0x10, 12, false, 0x91, 0x00, 0x00, 0x00, 0x00, 0x10),
        new("EXP1", 0x10, 20, false, 0x01, 0x00, 0x00, 0x00, 0x00, 0x10, 0x20, 0x28),
        new("EXP2RC", 0x10, 44, false, 0x92, 0x00, 0x00, 0x00, 0x00, 0x10),
        new("EXP2", 0x10, 52, false, 0x02, 0x00, 0x00, 0x00, 0x00, 0x10, 0x40, 0x20),
        new("MSIX", 0x11, 12, false, 0x1f, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08),
        new("SATA", 0x12, 8, false),
        new("SATA", 0x12, 16, false, 0x10, 0x00, 0x0f),
        new("AF", 0x13, 6, false, 0x06, 0x03),
    ];

    public static readonly CapabilitySample[] Extended =
    [
        new("AER", 0x01, 44, true),
        new("VC", 0x02, 28, true),
        new("VC", 0x02, 16 + 36 + 12 + 32, true, 2, 0, 0, 0, 0x04),
        new("DSN", 0x03, 12, true),
        new("PWR", 0x04, 16, true),
        new("MFVC", 0x08, 28, true),
        new("VC9", 0x09, 28, true),
        new("VSEC", 0x0b, 12, true, 0x01, 0x00, 0xc0, 0x00),
        new("ACS", 0x0d, 8, true),
        new("ACS", 0x0d, 8 + 8, true, 0x20, 0x21),
        new("ACS", 0x0d, 8 + 32, true, 0x20, 0x00),
        new("ARI", 0x0e, 8, true),
        new("ATS", 0x0f, 8, true),
        new("SRIOV", 0x10, 64, true),
        new("MCAST", 0x12, 48, true),
        new("PRI", 0x13, 16, true),
        new("REBAR", 0x15, 20, true, 0, 0, 0, 0, 0x40),
        new("DPA", 0x16, 20, true, 0x03),
        new("TPH", 0x17, 12, true),
        new("TPH", 0x17, 20, true, 0x00, 0x02, 0x03, 0x00),
        new("LTR", 0x18, 8, true),
        new("DVSEC", 0x23, 12, true, 0x86, 0x80, 0xc0, 0x00),
    ];

    public static readonly int[] HiddenStandard = [0x00, 0x04, 0x06, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x14, 0x15, 0x7f, 0xff];

    public static readonly int[] HiddenExtended =
    [
        0x00, 0x05, 0x06, 0x07, 0x0a, 0x0c, 0x11, 0x14, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
        0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0xffff,
    ];

    /// <summary>Config space with a PCI Express capability, which extended capabilities need to be seen (CF-53).</summary>
    public static ConfigBuilder WithExpress() => new ConfigBuilder().Standard(StandardCapability.PciExpress, 0x40, ConfigBuilder.Express2);

    /// <summary>Bits that ones clear in the hardware of a sample.</summary>
    public static void ClearByOne(ConfigFunction function, CapabilitySample sample, int offset)
    {
        switch (sample.Masks)
        {
            case "PM":
                function.ClearsByOne(offset + 4, 2, 0x8000);
                break;
            case "EXP1" or "EXP2" or "EXP1RC" or "EXP2RC":
                function.ClearsByOne(offset + 0x0a, 2, 0x000f);
                break;
            case "AER":
                function.ClearsByOne(offset + 0x04, 4, 0x03fff031).ClearsByOne(offset + 0x10, 4, 0x0000f1c1);
                break;
        }
    }

    public static void ClearByOneInHeader(ConfigFunction function) => function.ClearsByOne(ConfigOffset.Status, 2, 0xf900);
}
