namespace Fabric.Hardware.Specs.Virtio;

/// <summary>
/// A device part: u16 type, u8 flags, u8 of 0, selector of 8 bytes, u32 length, then so many bytes. Types up to 0x104 have the standard's
/// numbers; their values, and the types behind them, are this card's own in the standard's spirit. A whole state has each part once, in any order.
/// </summary>
public static class VirtioPart
{
    public const int HeaderBytes = 16;
    public const int Flags = 2;
    public const int Selector = 4;
    public const int Length = 12;

    /// <summary>Flag: may be ignored by a device that does not know it.</summary>
    public const byte Optional = 1;
}

public enum VirtioPartType : ushort
{
    /// <summary>u64. What the target does not offer too is refused.</summary>
    DeviceFeatures = 0x100,

    /// <summary>u64.</summary>
    DriverFeatures = 0x101,

    /// <summary>The first 24 bytes of <see cref="VirtioCommon"/> as they read, features 0.</summary>
    CommonConfig = 0x102,

    /// <summary>
    /// Selector: u16 queue. u16 size, u16 vector, u16 enabled, u16 next entry of the available ring, u16 used entries, 6 bytes of 0, then the u64
    /// addresses of descriptors, driver's and device's area.
    /// </summary>
    Queue = 0x104,

    /// <summary>As the device's configuration reads.</summary>
    DeviceConfig = 0x200,

    /// <summary>u8: <see cref="VirtioInterrupt"/>.</summary>
    Interrupt = 0x201,

    /// <summary>u8: <see cref="VirtioAdmin.ModeStopped"/>, optional: what its mode was. No target takes it over.</summary>
    Mode = 0x202,
}

/// <summary>Value of <see cref="VirtioPartType.Queue"/>.</summary>
public static class VirtioQueuePart
{
    public const int Size = 0;
    public const int Vector = 2;
    public const int Enabled = 4;
    public const int NextAvailable = 6;
    public const int Used = 8;
    public const int Descriptors = 16;
    public const int Driver = 24;
    public const int Device = 32;
    public const int Bytes = 40;
}

/// <summary>The split virtqueue in the guest's memory (VIRTIO 1.3, 2.7).</summary>
public static class VirtioRing
{
    public const int MaxSize = 256;

    /// <summary>u64 address, u32 length, u16 flags, u16 next.</summary>
    public const int DescriptorBytes = 16;
    public const ushort HasNext = 1;
    public const ushort DeviceWrites = 2;

    /// <summary>u16 flags, u16 index, then u16 for each entry.</summary>
    public const int AvailableHeader = 4;
    public const ushort NoInterrupt = 1;

    /// <summary>u16 flags, u16 index, then {u32 first descriptor, u32 bytes written} for each entry.</summary>
    public const int UsedHeader = 4;
    public const int UsedEntryBytes = 8;
}
