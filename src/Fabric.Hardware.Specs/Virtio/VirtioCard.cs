namespace Fabric.Hardware.Specs.Virtio;

/// <summary>Ids of virtio functions over PCI (VIRTIO 1.3, 4.1.2).</summary>
public static class VirtioIds
{
    public const ushort Vendor = 0x1af4;
    public const ushort Net = 0x1041;
    public const ushort Block = 0x1042;

    /// <summary>Of modern functions: 0x40 or more.</summary>
    public const ushort ModernSubsystem = 0x0040;
    public const byte ModernRevision = 1;

    public const uint NetClass = 0x020000;
    public const uint BlockClass = 0x010000;

    /// <summary>Device id of a transitional network card; block is the next (4.1.2.1).</summary>
    public const ushort FirstTransitional = 0x1000;

    /// <summary>A modern device id is this and the type: network 1, block 2.</summary>
    public const ushort FirstModern = 0x1040;
}

/// <summary>Where the modern interface lies (4.1.4). BAR 0 of a VF is empty: its place is where a legacy driver looks for its I/O ports.</summary>
public static class VirtioBar
{
    public const int Modern = 2;
    public const int Bytes = 0x4000;

    /// <summary><see cref="VirtioCommon"/>.</summary>
    public const int Common = 0x0000;

    /// <summary>u8: <see cref="VirtioInterrupt"/>; a read clears it.</summary>
    public const int Interrupt = 0x1000;

    /// <summary><see cref="VirtioNetConfig"/> or <see cref="VirtioBlockConfig"/>.</summary>
    public const int Device = 0x1100;

    /// <summary>u16, write: the number of the queue that has something to do; anywhere in the part (no notification data).</summary>
    public const int Notify = 0x2000;
    public const int NotifyBytes = 0x1000;

    public const int MsixTable = 0x3000;
    public const int MsixPending = 0x3800;
    public const int MsixVectors = 4;

    /// <summary>A vector that is none (4.1.5.1.2).</summary>
    public const ushort NoVector = 0xffff;
}

/// <summary>Common configuration: offsets, little-endian (4.1.4.3).</summary>
public static class VirtioCommon
{
    /// <summary>u32: which half of the features the next register shows.</summary>
    public const int DeviceFeatureSelect = 0x00;
    public const int DeviceFeature = 0x04;
    public const int DriverFeatureSelect = 0x08;
    public const int DriverFeature = 0x0c;
    public const int ConfigVector = 0x10;

    /// <summary>u16, read-only.</summary>
    public const int Queues = 0x12;

    /// <summary>u8: <see cref="VirtioStatus"/>; 0 resets the device.</summary>
    public const int Status = 0x14;
    public const int Generation = 0x15;

    /// <summary>u16: which queue the registers below are of.</summary>
    public const int QueueSelect = 0x16;
    public const int QueueSize = 0x18;
    public const int QueueVector = 0x1a;
    public const int QueueEnable = 0x1c;
    public const int QueueNotifyOffset = 0x1e;
    public const int QueueDescriptors = 0x20;
    public const int QueueDriver = 0x28;
    public const int QueueDevice = 0x30;
    public const int Bytes = 0x38;
}

/// <summary>Device status (2.1).</summary>
[Flags]
public enum VirtioStatus
{
    None = 0,
    Acknowledge = 1,
    Driver = 2,
    DriverOk = 4,
    FeaturesOk = 8,

    /// <summary>The device met something it cannot go on from; it works after a reset.</summary>
    NeedsReset = 64,
    Failed = 128,
}

[Flags]
public enum VirtioInterrupt
{
    None = 0,
    Queue = 1,
    Config = 2,
}

/// <summary>Feature bits that the emulated functions offer (5.1.3, 5.2.3, 6).</summary>
public static class VirtioFeature
{
    public const ulong NetMac = 1UL << 5;
    public const ulong NetStatus = 1UL << 16;
    public const ulong BlockSegments = 1UL << 2;
    public const ulong BlockSize = 1UL << 6;
    public const ulong Version1 = 1UL << 32;
}

/// <summary>Device configuration of a network card (5.1.4).</summary>
public static class VirtioNetConfig
{
    /// <summary>6 bytes.</summary>
    public const int Mac = 0;

    /// <summary>u16: bit 0 is the link.</summary>
    public const int Status = 6;
    public const int Bytes = 8;
}

/// <summary>Device configuration of a disk (5.2.4).</summary>
public static class VirtioBlockConfig
{
    /// <summary>u64: sectors of 512 bytes.</summary>
    public const int Capacity = 0;

    /// <summary>u32.</summary>
    public const int Segments = 12;

    /// <summary>u32: bytes of a block.</summary>
    public const int BlockSize = 20;
    public const int Bytes = 24;
}

/// <summary>The legacy interface, I/O ports of BAR 0: offsets, little-endian (4.1.4.10).</summary>
public static class VirtioLegacy
{
    /// <summary>Bytes of BAR 0: common configuration with MSI-X, and 8 bytes of the device's.</summary>
    public const int BarBytes = 32;

    public const int DeviceFeatures = 0x00;
    public const int DriverFeatures = 0x04;

    /// <summary>u32: the selected queue's address in pages; all its parts follow from it (2.7.2).</summary>
    public const int QueuePage = 0x08;
    public const int QueueSize = 0x0c;
    public const int QueueSelect = 0x0e;

    /// <summary>u16: what <see cref="VirtioBar.Notify"/> is of the modern interface.</summary>
    public const int QueueNotify = 0x10;
    public const int Status = 0x12;
    public const int Interrupt = 0x13;

    /// <summary>u16; this and the next only where MSI-X is enabled.</summary>
    public const int ConfigVector = 0x14;
    public const int QueueVector = 0x16;

    public const int PageBytes = 4096;

    /// <summary>Where device configuration begins.</summary>
    public static int DeviceConfigAt(bool msixEnabled) => msixEnabled ? 24 : 20;
}
