using System.Collections.Immutable;

namespace Fabric.Pci.Capabilities;

/// <summary>A standard capability as its chain names it.</summary>
/// <param name="Offset">Bytes into config space, a multiple of 4.</param>
public readonly record struct StandardEntry(StandardCapability Id, int Offset);

/// <summary>An extended capability as its chain names it.</summary>
/// <param name="Offset">Bytes into config space, a multiple of 4.</param>
public readonly record struct ExtendedEntry(ExtendedCapability Id, byte Version, int Offset);

/// <summary>
/// The capability chains of a copy of config space, in chain order. Both walks end whatever hardware holds: the two reserved low bits of
/// a pointer are ignored (PCI Local Bus 3.0, 6.7), and a chain ends at a pointer that leaves its space or comes back to where it was.
/// </summary>
public static class CapabilityWalk
{
    private const int Alignment = 4;

    /// <summary>The standard chain; empty where STATUS says that there is none.</summary>
    public static ImmutableArray<StandardEntry> Standard(ReadOnlySpan<byte> config)
    {
        if ((RawConfig.Word(config, ConfigOffset.Status) & (ushort)PciStatus.CapabilitiesList) == 0)
            return [];
        var found = ImmutableArray.CreateBuilder<StandardEntry>();
        Span<bool> seen = stackalloc bool[ConfigOffset.ConventionalSize / Alignment];
        var at = Pointer(config, ConfigOffset.CapabilitiesPointer);
        for (; IsNew(seen, at, ConfigOffset.HeaderSize, config.Length); at = Pointer(config, at + 1))
            found.Add(new StandardEntry((StandardCapability)config[at], at));
        return found.ToImmutable();
    }

    /// <summary>The extended chain; empty where there is no extended space or its first dword is 0.</summary>
    public static ImmutableArray<ExtendedEntry> Extended(ReadOnlySpan<byte> config)
    {
        if (RawConfig.Dword(config, ConfigOffset.ConventionalSize) == 0)
            return [];
        var found = ImmutableArray.CreateBuilder<ExtendedEntry>();
        Span<bool> seen = stackalloc bool[ConfigOffset.ExtendedSize / Alignment];
        for (var at = ConfigOffset.ConventionalSize; IsNew(seen, at, ConfigOffset.ConventionalSize, config.Length);)
        {
            var header = RawConfig.Dword(config, at);
            found.Add(new ExtendedEntry((ExtendedCapability)(ushort)header, (byte)((header >> 16) & 0xf), at));
            at = (int)(header >> 20) & ~(Alignment - 1);
        }

        return found.ToImmutable();
    }

    private static int Pointer(ReadOnlySpan<byte> config, int at) => RawConfig.Byte(config, at) & ~(Alignment - 1);

    private static bool IsNew(Span<bool> seen, int at, int first, int end)
    {
        if (at < first || at > end - Alignment || seen[at / Alignment])
            return false;
        seen[at / Alignment] = true;
        return true;
    }
}
