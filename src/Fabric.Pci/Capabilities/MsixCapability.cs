namespace Fabric.Pci.Capabilities;

/// <summary>MSI-X (PCI Local Bus 3.0, 6.8.2): where the table and the pending bits are.</summary>
/// <param name="TableSize">Entries of the table, 1 to 2048, 16 bytes each.</param>
/// <param name="TableBar">The BAR that the table is in, as hardware says: 6 and 7 are reserved and name none.</param>
/// <param name="TableOffset">Bytes into that BAR, a multiple of 8.</param>
public readonly record struct MsixCapability(int Offset, int TableSize, int TableBar, uint TableOffset, int PendingBar, uint PendingOffset)
{
    public const int Control = 2;
    public const int Table = 4;
    public const int Pending = 8;
    public const int Length = 12;

    /// <summary>Bytes of a table entry: address, data, vector control.</summary>
    public const int EntrySize = 16;

    public const ushort Enable = 1 << 15;
    public const ushort FunctionMask = 1 << 14;

    private const ushort SizeMask = 0x07ff;
    private const uint BarMask = 7;

    /// <summary>Bytes that the table takes in its BAR.</summary>
    public int TableBytes => TableSize * EntrySize;

    public static MsixCapability Parse(ReadOnlySpan<byte> config, int offset)
    {
        var table = RawConfig.Dword(config, offset + Table);
        var pending = RawConfig.Dword(config, offset + Pending);
        var size = (RawConfig.Word(config, offset + Control) & SizeMask) + 1;
        return new MsixCapability(offset, size, (int)(table & BarMask), table & ~BarMask, (int)(pending & BarMask), pending & ~BarMask);
    }
}
