using System.Collections.Immutable;
using System.Numerics;
using Fabric.Pci;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// The virtual BARs and ROM BAR of a function (CF-20, CF-21). Which bits of a BAR can be written says how large it is, and its type bits
/// are constant; so sizing needs no code, only a row with the right bits.
/// </summary>
internal static class BaseAddresses
{
    /// <summary>A register with the bits of it that are constant ones.</summary>
    public readonly record struct Row(ConfigRegister Register, uint Type);

    public static ImmutableArray<Row> Of(IPciFunction function)
    {
        var rows = ImmutableArray.CreateBuilder<Row>(ConfigOffset.BarCount + 1);
        var bars = function.Bars;
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            var entry = bar < bars.Count ? bars[bar] : PciBar.None;
            var mask = entry.Size == 0 ? 0 : ~(entry.Size - 1);
            rows.Add(Lower(bar, entry, (uint)mask));
            if (entry is { Kind: BarKind.Memory64, Size: > 0 } && bar < ConfigOffset.BarCount - 1)
                rows.Add(At(++bar, (uint)(mask >> 32), 0));
        }

        rows.Add(new Row(Virtual("ROM BAR", ConfigOffset.RomBar, RomMask(function.Rom)), 0));
        return rows.ToImmutable();
    }

    /// <summary>A BAR that the host has given no address reads 0 (CF-20).</summary>
    private static Row Lower(int bar, PciBar entry, uint mask) => entry.Kind switch
    {
        _ when entry.Size == 0 => At(bar, 0, 0),
        BarKind.Io => At(bar, mask & BarBits.IoAddress, BarBits.Io),
        BarKind.Memory32 => At(bar, mask & BarBits.MemoryAddress, Prefetch(entry)),
        BarKind.Memory64 => At(bar, mask & BarBits.MemoryAddress, BarBits.Memory64 | Prefetch(entry)),
        _ => At(bar, 0, 0),
    };

    private static uint Prefetch(PciBar bar) => bar.Prefetchable ? BarBits.Prefetchable : 0;

    /// <summary>The BAR's own size even where its content cannot be read; else that of the copy that firmware left (CF-21).</summary>
    private static uint RomMask(PciRom rom)
    {
        var size = rom.BarSize != 0 ? rom.BarSize : BitOperations.RoundUpToPowerOf2(rom.ShadowBytes);
        return size == 0 ? 0 : (uint)~(size - 1) | BarBits.RomEnable;
    }

    private static Row At(int bar, uint writable, uint type) => new(Virtual(Names[bar], ConfigOffset.Bar0 + (4 * bar), writable), type);

    private static ConfigRegister Virtual(string name, int offset, uint writable) => new(name, offset, sizeof(uint), uint.MaxValue, writable);

    private static readonly string[] Names = ["BAR 0", "BAR 1", "BAR 2", "BAR 3", "BAR 4", "BAR 5"];
}
