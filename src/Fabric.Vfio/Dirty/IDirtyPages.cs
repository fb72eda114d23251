namespace Fabric.Vfio.Dirty;

/// <summary>Where dirt is put down.</summary>
public interface IDirtyPages
{
    /// <summary>
    /// Marks every page that has a byte of the <paramref name="length"/> bytes at <paramref name="iova"/>; what lies outside is passed over.
    /// </summary>
    void Mark(ulong iova, ulong length);
}
