using Fabric.Hardware.Specs.Accelerator;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>Which pages of one IOVA range DMA wrote. The range is that of the start: programming another one changes nothing here.</summary>
/// <param name="length">Bytes; a last page of which only a part is watched is a page of the log.</param>
internal sealed class DmaLog(ulong iova, ulong length)
{
    public ChangeLog Pages { get; } = new((long)((length + AcceleratorMigration.LogPageSize - 1) / AcceleratorMigration.LogPageSize));

    /// <summary>The last byte; a range that runs past the end of the space is cut there.</summary>
    private readonly ulong end = iova + Math.Min(length - 1, ulong.MaxValue - iova);

    /// <summary>Marks every page that has a byte of a write; a write may begin before the range, and lie across two pages.</summary>
    public void Mark(ulong at, int written)
    {
        var last = at + ((ulong)written - 1);
        if (length == 0 || last < iova || at > end)
            return;
        var firstPage = (Math.Max(at, iova) - iova) / AcceleratorMigration.LogPageSize;
        var lastPage = (Math.Min(last, end) - iova) / AcceleratorMigration.LogPageSize;
        for (var page = firstPage; page <= lastPage; page++)
            Pages.Mark((long)page);
    }
}
