using System.Collections.Immutable;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>The DMA buffers of an open device (IO-90 to IO-92). Each holds a reference to the device's registration until the last close.</summary>
internal sealed class DmaBufs(IPciFunction function, RegionAccess regions, MemoryGate gate)
{
    /// <summary>Replaced as a whole: an importer may let go of a buffer from its own thread.</summary>
    private ImmutableList<DmaBuf> buffers = [];

    public int Count => buffers.Count;

    public IReadOnlyList<DmaBuf> All => buffers;

    public bool AllRevoked => buffers.All(static buffer => buffer.IsRevoked);

    /// <summary>Errors, in this order: EINVAL, ENODEV, EINVAL, EOVERFLOW, ENODEV (IO-90).</summary>
    /// <param name="shown">What a driver shows in place of the BAR; null for the BAR.</param>
    public VfioResult<DmaBuf> Export(
        int region, uint flags, ReadOnlySpan<DmaBufRange> ranges, VfioError fault, bool usable, bool isLeaving, RegionMapping? shown = null)
    {
        if (ranges.IsEmpty || flags != 0)
            return new VfioError(Errno.EINVAL, "A DMA buffer has at least one range, and no flags.");
        if (region is < RegionIndex.Bar0 or > RegionIndex.Bar5 || (shown is null && regions.ClaimOf(region).Errno != Errno.None))
            return new VfioError(Errno.ENODEV, "The region is no BAR, or the BAR is not there or not the core's.");
        if (fault.Errno != Errno.None)
            return fault;
        var total = 0UL;
        foreach (var range in ranges)
        {
            if (range.Length == 0 || ((range.Offset | range.Length) & (RegionAccess.PageBytes - 1)) != 0)
                return new VfioError(Errno.EINVAL, "The ranges of a DMA buffer are whole pages of 4096 bytes, and not empty.");
            if (total + range.Length < total)
                return new VfioError(Errno.EINVAL, "The ranges of the DMA buffer are longer together than any memory.");
            total += range.Length;
        }

        var bytes = shown?.Length ?? regions.BarBytes(region);
        foreach (var range in ranges)
        {
            if (range.Offset + range.Length < range.Offset)
                return new VfioError(Errno.EOVERFLOW, "A range of the DMA buffer runs past the end of the address space.");
            if (range.Offset + range.Length > bytes)
                return new VfioError(Errno.EINVAL, "A range of the DMA buffer lies past the end of the BAR.");
        }

        if (isLeaving)
            return new VfioError(Errno.ENODEV, "The device is being taken away; it exports nothing more.");
        var memory = shown ?? new RegionMapping(function, region, 0, bytes, gate, MemoryBlocks.None);
        var buffer = new DmaBuf(region, ImmutableArray.Create(ranges), bornRevoked: !usable, memory, Return);
        ImmutableInterlocked.Update(ref buffers, static (all, added) => all.Add(added), buffer);
        return buffer;
    }

    private void Return(DmaBuf buffer) => ImmutableInterlocked.Update(ref buffers, static (all, gone) => all.Remove(gone), buffer);

    public void Revoke()
    {
        foreach (var buffer in buffers)
            buffer.Revoke();
    }

    public void Restore()
    {
        foreach (var buffer in buffers)
            buffer.Restore();
    }

    /// <summary>Last close: revoked for good, the references to the registration returned (IO-92).</summary>
    public void End()
    {
        foreach (var buffer in buffers)
            buffer.End();
        buffers = [];
    }
}
