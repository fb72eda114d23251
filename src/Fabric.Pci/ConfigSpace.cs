namespace Fabric.Pci;

/// <summary>Offsets of the type-0 header, in bytes (PCI Local Bus 3.0, 6.1).</summary>
public static class ConfigOffset
{
    public const int VendorId = 0x00;
    public const int DeviceId = 0x02;
    public const int Command = 0x04;
    public const int Status = 0x06;
    public const int Revision = 0x08;
    public const int ClassCode = 0x09;
    public const int HeaderType = 0x0e;
    public const int Bar0 = 0x10;
    public const int SubsystemVendorId = 0x2c;
    public const int SubsystemId = 0x2e;
    public const int RomBar = 0x30;
    public const int CapabilitiesPointer = 0x34;
    public const int InterruptLine = 0x3c;
    public const int InterruptPin = 0x3d;

    /// <summary>Conventional config space; PCI Express extends it to <see cref="ExtendedSize"/>.</summary>
    public const int ConventionalSize = 256;

    public const int ExtendedSize = 4096;
}

/// <summary>Bits of the COMMAND register.</summary>
[Flags]
public enum PciCommand : ushort
{
    None = 0,
    IoSpace = 1 << 0,
    MemorySpace = 1 << 1,
    BusMaster = 1 << 2,
    InterruptDisable = 1 << 10,
}
