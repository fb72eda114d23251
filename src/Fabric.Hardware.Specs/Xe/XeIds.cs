namespace Fabric.Hardware.Specs.Xe;

/// <summary>Ids of a Battlemage graphics card. A VF has its PF's.</summary>
public static class XeIds
{
    public const ushort Vendor = 0x8086;
    public const ushort Device = 0xe20b;
    public const byte Revision = 0x04;

    /// <summary>Display controller, VGA-compatible.</summary>
    public const uint ClassCode = 0x030000;
}

/// <summary>BAR numbers of the VF. Both are the user's: migration goes by the PF.</summary>
public static class XeBar
{
    /// <summary>Registers, and the VF's part of the global graphics translation table.</summary>
    public const int Registers = 0;

    /// <summary>Local memory.</summary>
    public const int Vram = 2;

    public const int PageBytes = 4096;
}

/// <summary>
/// Registers of BAR 0, offsets in bytes, little-endian. In place of engines there is one, plain enough to be compared byte by byte: job k,
/// counted from 0, adds k + 1 to the first u64 of the VRAM page that GGTT entry k says (around and around both).
/// </summary>
public static class XeRegister
{
    /// <summary>u32, <see cref="ScratchCount"/> of them: for the VF's driver and firmware to talk.</summary>
    public const int Scratch = 0x100;

    public const int ScratchCount = 16;

    /// <summary>u32, write: so many jobs more.</summary>
    public const int Doorbell = 0x200;

    /// <summary>u64, read-only: jobs that are done.</summary>
    public const int Done = 0x208;

    /// <summary>u64, read-only: jobs that wait, until the VF is resumed.</summary>
    public const int Pending = 0x210;

    /// <summary>u64, <see cref="GgttEntries"/> of them: numbers of VRAM pages.</summary>
    public const int Ggtt = 0x8000;

    public const int GgttEntries = 512;

    public const int Bytes = 0x10000;
}
