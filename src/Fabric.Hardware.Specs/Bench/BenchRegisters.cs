namespace Fabric.Hardware.Specs.Bench;

/// <summary>Ids of the bench cards: functions that do nothing but what they are told, to try a host's handling of them.</summary>
public static class BenchIds
{
    public const ushort Vendor = 0x1b36;
    public const ushort MultiFunction = 0xfac0;
    public const ushort Conventional = 0xfac1;
    public const ushort NoFunctionLevelReset = 0xfac2;
    public const ushort HungReset = 0xfac3;
    public const ushort NotReady = 0xfac4;
    public const ushort Null = 0xfac5;

    /// <summary>Unclassified.</summary>
    public const uint ClassCode = 0xff0000;
}

/// <summary>Registers of a bench card's BAR 0: offsets in bytes, u32 little-endian. Behind them, and in its other BARs, is plain memory.</summary>
public static class BenchRegister
{
    /// <summary>Read-only: <see cref="MagicValue"/>.</summary>
    public const int Magic = 0x00;

    /// <summary>Takes what is written.</summary>
    public const int Scratch = 0x04;

    /// <summary>Write: sends the message of the MSI or MSI-X vector of this number.</summary>
    public const int Message = 0x08;

    /// <summary>Bit 0 asserts the INTx line for as long as it is set.</summary>
    public const int Line = 0x0c;

    /// <summary>Bytes that the registers take.</summary>
    public const int Bytes = 0x10;

    public const uint MagicValue = 0x434e4246;       // "FBNC"
}
