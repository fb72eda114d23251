namespace Fabric.Pci.Capabilities;

/// <summary>Message signalled interrupts (PCI Local Bus 3.0, 6.8.1).</summary>
/// <param name="MaxVectors">How many vectors the function can use: 1, 2, 4, 8, 16 or 32 (IO-30).</param>
/// <param name="Is64Bit">Whether it has an upper half of the message address.</param>
/// <param name="HasMask">Whether it has mask and pending bits.</param>
public readonly record struct MsiCapability(int Offset, int MaxVectors, bool Is64Bit, bool HasMask)
{
    public const int Control = 2;
    public const int AddressLow = 4;

    /// <summary>Only of a 64-bit capability.</summary>
    public const int AddressHigh = 8;

    public const ushort Enable = 1 << 0;

    /// <summary>In <see cref="Control"/>: log2 of the vectors that the function can use.</summary>
    public const ushort MultipleMessageCapable = 0x000e;

    /// <summary>In <see cref="Control"/>: log2 of the vectors that software has given it.</summary>
    public const ushort MultipleMessageEnable = 0x0070;

    public const int MultipleMessageCapableShift = 1;
    public const int MultipleMessageEnableShift = 4;

    private const ushort Address64 = 1 << 7;
    private const ushort PerVectorMask = 1 << 8;

    /// <summary>Offset of the message data in the capability.</summary>
    public int Data => DataAt(Is64Bit);

    /// <summary>Offset of the mask bits in the capability; the pending bits follow them.</summary>
    public int Mask => MaskAt(Is64Bit);

    /// <summary>Bytes: 10, 14, 20 or 24.</summary>
    public int Length => HasMask ? Mask + 8 : Data + 2;

    public static int DataAt(bool is64Bit) => is64Bit ? 12 : 8;

    public static int MaskAt(bool is64Bit) => is64Bit ? 16 : 12;

    public static MsiCapability Parse(ReadOnlySpan<byte> config, int offset)
    {
        var control = RawConfig.Word(config, offset + Control);
        // The encodings 6 and 7 are reserved; 32 is the most there can be.
        var log2 = Math.Min((control & MultipleMessageCapable) >> MultipleMessageCapableShift, 5);
        return new MsiCapability(offset, 1 << log2, (control & Address64) != 0, (control & PerVectorMask) != 0);
    }
}
