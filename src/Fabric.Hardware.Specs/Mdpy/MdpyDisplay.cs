using System.Numerics;

namespace Fabric.Hardware.Specs.Mdpy;

/// <summary>Ids of the framebuffer, as the kernel's sample has them.</summary>
public static class MdpyIds
{
    public const ushort Vendor = 0x1b36;
    public const ushort Device = 0x000f;
    public const ushort SubsystemVendor = 0x1af4;
    public const ushort Subsystem = 0x1100;

    /// <summary>Display controller, of no standard kind.</summary>
    public const uint ClassCode = 0x038000;
}

/// <summary>Regions of the framebuffer.</summary>
public static class MdpyRegion
{
    /// <summary>BAR 0: memory, the pixels, row by row, in a power of two of bytes.</summary>
    public const int Framebuffer = 0;

    /// <summary>The same bytes as a region of the device, for who shows them.</summary>
    public const int Display = 16;
}

/// <summary>The vendor capability that says what the pixels are: offsets in config space, each u32, little-endian, read-only.</summary>
public static class MdpyCapability
{
    public const int Offset = 0x40;
    public const int Format = Offset + 0x04;
    public const int Width = Offset + 0x08;
    public const int Height = Offset + 0x0c;
    public const int Bytes = 0x10;

    /// <summary>The only format: DRM's XR24, four bytes a pixel, blue first.</summary>
    public const uint Xrgb8888 = 0x34325258;

    public const int BytesPerPixel = 4;

    /// <summary>Bytes of a framebuffer, a power of two.</summary>
    public static uint BytesOf(uint width, uint height) => BitOperations.RoundUpToPowerOf2(width * height * BytesPerPixel);
}
