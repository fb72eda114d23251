namespace Fabric.Pci.Capabilities;

/// <summary>Vital product data (PCI Local Bus 3.0, appendix I): an address, whose top bit says who is to move next, and four bytes of data.</summary>
public static class VitalProductData
{
    public const int Address = 2;
    public const int Data = 4;
    public const int Length = 8;

    /// <summary>In <see cref="Address"/>: software writes 0 to read and 1 to write; hardware flips it when it is done.</summary>
    public const ushort Flag = 1 << 15;
}

/// <summary>PCI-X (PCI-X 2.0 protocol addendum, 7.2).</summary>
public static class PciX
{
    public const int Command = 2;
    public const int Status = 4;

    /// <summary>ECC control and status, from version 1 on.</summary>
    public const int EccControl = 8;

    public const int Length = 8;
    public const int LengthOfVersion2 = 24;

    /// <summary>Whether a command register is of a PCI-X 2 function: its capability is the long one, and it may have extended config space.</summary>
    public static bool HasVersion(ushort command) => (command & 0x3000) != 0;
}

/// <summary>Offsets of advanced error reporting, and the bits that an endpoint has in them (PCIe 6.0, 7.8.4).</summary>
public static class AerRegister
{
    public const int UncorrectableStatus = 0x04;
    public const int UncorrectableMask = 0x08;
    public const int UncorrectableSeverity = 0x0c;
    public const int CorrectableStatus = 0x10;
    public const int CorrectableMask = 0x14;
    public const int Control = 0x18;
    public const int HeaderLog = 0x1c;

    /// <summary>Bytes without the root's registers, which only ports have.</summary>
    public const int Length = 0x2c;

    /// <summary>Bit 0 (once link training), data link protocol, surprise down, and poisoned TLP to TLP prefix blocked (12 to 25).</summary>
    public const uint UncorrectableErrors = 0x03ff_f031;

    /// <summary>Receiver, bad TLP, bad DLLP, replay rollover, replay timer, advisory, internal, header log overflow.</summary>
    public const uint CorrectableErrors = 0x0000_f1c1;

    /// <summary>In <see cref="Control"/>.</summary>
    public const uint EcrcGenerationEnable = 1 << 6;

    /// <summary>In <see cref="Control"/>.</summary>
    public const uint EcrcCheckEnable = 1 << 8;
}

/// <summary>Power budgeting (PCIe 6.0, 7.8.1): what <see cref="DataSelect"/> names is read from <see cref="Data"/>.</summary>
public static class PowerBudget
{
    public const int DataSelect = 4;
    public const int Data = 8;
    public const int Length = 16;
}
