namespace Fabric.Pci;

/// <summary>Offsets of the type-0 header, in bytes (PCI Local Bus 3.0, 6.1).</summary>
public static class ConfigOffset
{
    public const int VendorId = 0x00;
    public const int DeviceId = 0x02;
    public const int Command = 0x04;
    public const int Status = 0x06;
    public const int Revision = 0x08;
    public const int RevisionId = 0x08;
    public const int ClassCode = 0x09;
    public const int CacheLineSize = 0x0c;
    public const int LatencyTimer = 0x0d;
    public const int HeaderType = 0x0e;
    public const int Bist = 0x0f;
    public const int Bar0 = 0x10;
    public const int CardBusCis = 0x28;
    public const int SubsystemVendorId = 0x2c;
    public const int SubsystemId = 0x2e;
    public const int RomBar = 0x30;
    public const int CapabilitiesPointer = 0x34;
    public const int InterruptLine = 0x3c;
    public const int InterruptPin = 0x3d;
    public const int MinimumGrant = 0x3e;
    public const int MaximumLatency = 0x3f;

    /// <summary>Bytes of the header; standard capabilities come after it.</summary>
    public const int HeaderSize = 64;

    /// <summary>Conventional config space; PCI Express extends it to <see cref="ExtendedSize"/>.</summary>
    public const int ConventionalSize = 256;

    public const int ExtendedSize = 4096;

    /// <summary>BARs of a type-0 header.</summary>
    public const int BarCount = 6;
}

/// <summary>Bits of the COMMAND register.</summary>
[Flags]
public enum PciCommand : ushort
{
    None = 0,
    IoSpace = 1 << 0,
    MemorySpace = 1 << 1,
    BusMaster = 1 << 2,
    SpecialCycles = 1 << 3,
    MemoryWriteAndInvalidate = 1 << 4,
    PaletteSnoop = 1 << 5,
    ParityErrorResponse = 1 << 6,
    SystemErrorEnable = 1 << 8,
    FastBackToBack = 1 << 9,
    InterruptDisable = 1 << 10,
}

/// <summary>Bits of the STATUS register. The errors are cleared by writing ones.</summary>
[Flags]
public enum PciStatus : ushort
{
    None = 0,
    InterruptPending = 1 << 3,
    CapabilitiesList = 1 << 4,
    MasterDataParityError = 1 << 8,
    SignaledTargetAbort = 1 << 11,
    ReceivedTargetAbort = 1 << 12,
    ReceivedMasterAbort = 1 << 13,
    SignaledSystemError = 1 << 14,
    DetectedParityError = 1 << 15,
}

/// <summary>Type bits of a BAR (PCI Local Bus 3.0, 6.2.5).</summary>
public static class BarBits
{
    public const uint Io = 1 << 0;
    public const uint Memory64 = 1 << 2;
    public const uint Prefetchable = 1 << 3;

    /// <summary>Address bits of an I/O BAR; the others are its type.</summary>
    public const uint IoAddress = ~0x3u;

    /// <summary>Address bits of a memory BAR's lower dword; the others are its type.</summary>
    public const uint MemoryAddress = ~0xfu;

    /// <summary>The expansion ROM BAR's enable bit.</summary>
    public const uint RomEnable = 1 << 0;
}
