namespace Fabric.Vfio.Core;

/// <summary>Where a function's MSI-X table lies (LC-20). Offsets and lengths in bytes.</summary>
/// <param name="Vectors">0 where the function has no MSI-X.</param>
internal readonly record struct MsixTable(int Bar, ulong Offset, int Vectors)
{
    private const int EntryBytes = 16;

    public ulong End => Offset + ((ulong)Vectors * EntryBytes);

    public static MsixTable Of(IPciFunction function)
    {
        var capability = function.FindCapability(CapabilityId.Msix);
        if (capability == 0)
            return default;
        var table = function.Read32(capability + 4);
        return new MsixTable((int)(table & 7), table & ~7u, (function.Read16(capability + 2) & 0x7ff) + 1);
    }

    public bool IsIn(int bar) => Vectors > 0 && Bar == bar;

    public bool Overlaps(int bar, ulong offset, ulong length) => IsIn(bar) && offset < End && offset + length > Offset;
}
