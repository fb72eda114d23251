using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>A capability that the user sees.</summary>
/// <param name="Length">Bytes; cut where another one starts inside it.</param>
internal readonly record struct PlacedCapability(int Offset, int Length, CapabilityRules Rules)
{
    /// <summary>None where too little is left of it.</summary>
    public WriteAction Action => Length >= Rules.ActionBytes ? Rules.Action : WriteAction.None;
}

/// <summary>
/// Which capabilities the user sees (contract §3.5, §3.6), in chain order. Hidden are those without rules, and those that by
/// what hardware says have no length.
/// </summary>
internal static class VisibleCapabilities
{
    public static ImmutableArray<PlacedCapability> Standard(ReadOnlySpan<byte> config)
    {
        var visible = ImmutableArray.CreateBuilder<PlacedCapability>();
        foreach (var entry in CapabilityWalk.Standard(config))
        {
            var length = CapabilityLength.Standard(config, entry.Offset);
            if (length > 0 && ConfigRules.Standard(entry.Id, config, entry.Offset) is { } rules)
                visible.Add(new PlacedCapability(entry.Offset, Math.Max(length, 4), rules));
        }

        return CutAtNext(visible);
    }

    /// <summary>A hidden first one stays as a placeholder, because the chain must start at 0x100 (CF-52).</summary>
    public static ImmutableArray<PlacedCapability> Extended(ReadOnlySpan<byte> config)
    {
        var visible = ImmutableArray.CreateBuilder<PlacedCapability>();
        foreach (var entry in CapabilityWalk.Extended(config))
        {
            var length = CapabilityLength.Extended(config, entry.Offset);
            if (length > 0 && ConfigRules.Extended(entry.Id) is { } rules)
                visible.Add(new PlacedCapability(entry.Offset, Math.Max(length, 4), rules));
            else if (entry.Offset == ConfigOffset.ConventionalSize)
                visible.Add(new PlacedCapability(entry.Offset, 4, ConfigRules.Placeholder));
        }

        return CutAtNext(visible);
    }

    /// <summary>Extended space belongs to PCI Express and PCI-X 2 functions, and only where it holds something (CF-53).</summary>
    public static bool HasExtendedSpace(ReadOnlySpan<byte> config)
    {
        if (CapabilityWalk.Extended(config).IsEmpty)
            return false;
        foreach (var entry in CapabilityWalk.Standard(config))
        {
            if (entry.Id == StandardCapability.PciExpress)
                return true;
            if (entry.Id == StandardCapability.PciX && PciX.HasVersion(LittleEndian.Word(config[(entry.Offset + PciX.Command)..])))
                return true;
        }

        return false;
    }

    private static ImmutableArray<PlacedCapability> CutAtNext(ImmutableArray<PlacedCapability>.Builder visible)
    {
        var ordered = visible.Select(capability => capability.Offset).Order().ToArray();
        for (var i = 0; i < visible.Count; i++)
        {
            var next = Array.BinarySearch(ordered, visible[i].Offset) + 1;
            if (next < ordered.Length)
                visible[i] = visible[i] with { Length = Math.Min(visible[i].Length, ordered[next] - visible[i].Offset) };
        }

        return visible.ToImmutable();
    }
}
