using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core;

/// <summary>Where a function's MSI-X table lies (LC-20), in bytes.</summary>
/// <param name="End">0 where the function has no MSI-X.</param>
internal readonly record struct MsixTable(int Bar, ulong Offset, ulong End)
{
    public static MsixTable Of(MsixCapability? capability) => capability is { } msix
        ? new MsixTable(msix.TableBar, msix.TableOffset, msix.TableOffset + (ulong)msix.TableBytes)
        : default;

    public bool IsIn(int bar) => End != 0 && Bar == bar;

    public bool Overlaps(int bar, ulong offset, ulong length) => IsIn(bar) && offset < End && offset + length > Offset;
}
