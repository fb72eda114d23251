namespace Fabric.Hardware.Specs.Mbochs;

/// <summary>Ids of the Bochs display, as the kernel's sample has them.</summary>
public static class MbochsIds
{
    public const ushort Vendor = 0x1234;
    public const ushort Device = 0x1111;
    public const ushort SubsystemVendor = 0x1af4;
    public const ushort Subsystem = 0x1100;

    /// <summary>Display controller, of no standard kind.</summary>
    public const uint ClassCode = 0x038000;
}

/// <summary>Regions of the Bochs display.</summary>
public static class MbochsRegion
{
    /// <summary>BAR 0: memory, video RAM.</summary>
    public const int VideoMemory = 0;

    /// <summary>BAR 2: memory, <see cref="MbochsRegisters"/>.</summary>
    public const int Registers = 2;

    /// <summary>BAR 4: memory, the monitor (<see cref="MbochsEdid"/>). For the host's driver alone.</summary>
    public const int Monitor = 4;

    /// <summary>The monitor as a region of the device: type GFX, subtype EDID.</summary>
    public const int Edid = 9;
}

/// <summary>Registers of BAR 2: offsets in bytes, little-endian.</summary>
public static class MbochsRegisters
{
    /// <summary>Read-only: the EDID of the monitor, where one is connected; else zeros.</summary>
    public const int Edid = 0x000;
    public const int EdidBytes = 0x400;

    /// <summary>The Bochs VBE registers, u16 each, by <see cref="DispiIndex"/>. Accesses of two bytes alone.</summary>
    public const int Dispi = 0x500;

    public const int Bytes = 0x1000;
}

/// <summary>The Bochs VBE registers (dispi).</summary>
public enum DispiIndex
{
    /// <summary>Read-only: <see cref="Dispi.Version5"/>.</summary>
    Id,
    Width,
    Height,
    BitsPerPixel,
    Enable,
    Bank,
    VirtualWidth,
    VirtualHeight,
    OffsetX,
    OffsetY,

    /// <summary>Read-only: video RAM in units of 64 KiB.</summary>
    VideoMemory,
}

public static class Dispi
{
    public const int Registers = 11;
    public const ushort Version5 = 0xb0c5;
}

/// <summary>
/// The monitor, as the host says: a head in the layout of VFIO's EDID region (offset of the blob, its most and its present bytes, most columns and
/// rows, link state; u32 each, little-endian), then the blob. Of the head, size and link state can be written, in accesses of four bytes.
/// </summary>
public static class MbochsEdid
{
    public const int BlobOffset = 0x00;
    public const int MostBytes = 0x04;
    public const int Size = 0x08;
    public const int MostColumns = 0x0c;
    public const int MostRows = 0x10;

    /// <summary>1: a monitor is connected; 2: none is.</summary>
    public const int LinkState = 0x14;
    public const int HeadBytes = 0x18;

    public const uint LinkUp = 1;

    /// <summary>Where the blob is.</summary>
    public const int Blob = 0x800;
    public const int BlobBytes = 0x100;

    public const int Bytes = 0x1000;
}
