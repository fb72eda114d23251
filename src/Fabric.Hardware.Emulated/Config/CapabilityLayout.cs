using System.Collections.Immutable;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>A capability of either chain as data: its registers after the two bytes, or the dword, that link it.</summary>
/// <param name="Length">Bytes, the link included.</param>
internal sealed record CapabilityLayout(ushort Id, byte Version, bool IsExtended, int Length, ImmutableArray<RegisterRow> Rows)
{
    public static CapabilityLayout Standard(StandardCapability id, int length, params ImmutableArray<RegisterRow> rows) =>
        new((ushort)id, 0, IsExtended: false, length, rows);

    public static CapabilityLayout Extended(ExtendedCapability id, int length, params ImmutableArray<RegisterRow> rows) =>
        new((ushort)id, 1, IsExtended: true, length, rows);
}
