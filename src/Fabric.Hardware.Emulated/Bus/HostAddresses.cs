using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// Where a host places BARs: each aligned to its size, none over another. 64-bit ones are above 1 TiB, the others from 2 GiB up, ports from
/// 0x1000 up. Not safe to use from two threads at once.
/// </summary>
internal sealed class HostAddresses
{
    private ulong memory64 = (1UL << 40) | 0x8000_0000;
    private ulong memory32 = 0x8000_0000;
    private ulong io = 0x1000;

    /// <summary>The dwords of BARs 0 to 5 and of the ROM BAR, type bits included.</summary>
    public uint[] Place(IReadOnlyList<PciBar> bars, PciRom rom)
    {
        var dwords = new uint[ConfigOffset.BarCount + 1];
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            var (kind, size, prefetchable, _) = bars[bar];
            if (size == 0)
                continue;
            switch (kind)
            {
                case BarKind.Io:
                    dwords[bar] = (uint)Take(ref io, size) | BarBits.Io;
                    break;
                case BarKind.Memory32:
                    dwords[bar] = (uint)Take(ref memory32, size) | (prefetchable ? BarBits.Prefetchable : 0);
                    break;
                case BarKind.Memory64:
                    var at = Take(ref memory64, size);
                    dwords[bar] = (uint)at | BarBits.Memory64 | (prefetchable ? BarBits.Prefetchable : 0);
                    dwords[++bar] = (uint)(at >> 32);
                    break;
                case BarKind.None:
                default:
                    break;
            }
        }

        if (rom.BarSize != 0)
            dwords[ConfigOffset.BarCount] = (uint)Take(ref memory32, rom.BarSize);
        return dwords;
    }

    private static ulong Take(ref ulong next, ulong size)
    {
        var at = (next + size - 1) & ~(size - 1);
        next = at + size;
        return at;
    }
}
