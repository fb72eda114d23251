using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>
/// The two bitmaps of each config byte (CF-1): which bits live in the shadow copy, which the user may write. Data, not code
/// (contract §3.2); what is not listed is read from hardware and read-only.
/// </summary>
internal static class ConfigPermissions
{
    private readonly record struct Register(int Offset, int Length, uint Virtual, uint Writable);

    private const uint All = uint.MaxValue;

    private static readonly Register[] Header =
    [
        new(ConfigOffset.VendorId, 4, All, 0),
        new(ConfigOffset.Command, 2, (uint)PciCommand.InterruptDisable, 0xffff),
        new(ConfigOffset.Status, 2, 1 << 4, 0),
        new(0x0c, 2, 0, 0xffff),                 // cache line size, latency timer
        new(0x0f, 1, 0, 0xff),                   // BIST
        new(ConfigOffset.Bar0, 4, All, All),
        new(ConfigOffset.Bar0 + 4, 4, All, All),
        new(ConfigOffset.Bar0 + 8, 4, All, All),
        new(ConfigOffset.Bar0 + 12, 4, All, All),
        new(ConfigOffset.Bar0 + 16, 4, All, All),
        new(ConfigOffset.Bar0 + 20, 4, All, All),
        new(ConfigOffset.RomBar, 4, All, All),
        new(ConfigOffset.CapabilitiesPointer, 1, All, 0),
        new(ConfigOffset.InterruptLine, 1, 0xff, 0xff),
        new(ConfigOffset.InterruptPin, 1, 0xff, 0),
    ];

    public static ReadOnlySpan<byte> Virtual => VirtualMap;

    public static ReadOnlySpan<byte> Writable => WritableMap;

    private static readonly byte[] VirtualMap = Expand(register => register.Virtual);

    private static readonly byte[] WritableMap = Expand(register => register.Writable);

    private static byte[] Expand(Func<Register, uint> bits)
    {
        var map = new byte[ConfigOffset.ConventionalSize];
        foreach (var register in Header)
        {
            for (var i = 0; i < register.Length; i++)
                map[register.Offset + i] = (byte)(bits(register) >> (8 * i));
        }

        return map;
    }
}
