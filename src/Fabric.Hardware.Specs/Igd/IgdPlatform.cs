namespace Fabric.Hardware.Specs.Igd;

/// <summary>Intel's integrated graphics: what a driver of it needs of the rest of the host (Intel's OpRegion specification; the kernel's vfio_pci_igd).</summary>
public static class IgdPlatform
{
    public const ushort Vendor = 0x8086;

    /// <summary>One of very many, the one that is emulated (UHD 630).</summary>
    public const ushort Device = 0x3e92;

    /// <summary>VGA-compatible controller: what every one of them is.</summary>
    public const uint VgaClass = 0x030000;

    public const uint HostBridgeClass = 0x060000;
    public const uint IsaBridgeClass = 0x060100;

    /// <summary>Config register ASLS, u32: physical address of the OpRegion; 0 or all ones where firmware has made none.</summary>
    public const int OpRegionRegister = 0xfc;

    /// <summary>Of every OpRegion.</summary>
    public const int OpRegionHeaderBytes = 32;

    /// <summary>Offset of the OpRegion's size, u32, in KiB.</summary>
    public const int OpRegionSize = 16;

    /// <summary>The OpRegion begins with it.</summary>
    public static ReadOnlySpan<byte> OpRegionSignature => "IntelGraphicsMem"u8;
}

/// <summary>The regions that the driver adds (vfio.h): type is the vendor's, with bit 31.</summary>
public static class IgdRegionType
{
    public const uint Type = 0x8000_0000 | IgdPlatform.Vendor;
    public const uint OpRegion = 1;
    public const uint HostBridgeConfig = 2;
    public const uint LpcBridgeConfig = 3;
}
