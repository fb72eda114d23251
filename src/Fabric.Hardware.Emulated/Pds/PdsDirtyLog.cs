using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Hardware.Specs.Pds;

namespace Fabric.Hardware.Emulated.Pds;

/// <summary>
/// What a VF wrote by DMA, by regions: a sequence bitmap that is the device's and an acknowledgement bitmap that is the host's, both of all regions
/// one behind the other. A write makes the bits of its pages differ, and leaves those alone that do. The VF's clock is held.
/// </summary>
internal sealed class PdsDirtyLog
{
    /// <summary>Pages that it rounds regions up to.</summary>
    private const int Alignment = 256;

    private readonly ImmutableArray<Region> regions;
    private readonly byte[] sequence;
    private readonly byte[] acknowledged;

    private PdsDirtyLog(ImmutableArray<Region> regions)
    {
        this.regions = regions;
        sequence = new byte[regions.Sum(static region => region.Pages) / 8];
        acknowledged = new byte[sequence.Length];
    }

    private readonly record struct Region(ulong Base, long Pages, int PageShift, long FirstBit);

    public int Regions => regions.Length;

    /// <summary>Null for regions that are none.</summary>
    /// <param name="asked">A <see cref="PdsRegion"/> each; written back with as many pages as it gets.</param>
    public static PdsDirtyLog? Of(int count, Span<byte> asked)
    {
        if (count == 0 || asked.Length != count * PdsRegion.Bytes)
            return null;
        var regions = ImmutableArray.CreateBuilder<Region>(count);
        var bits = 0L;
        for (var index = 0; index < count; index++)
        {
            var entry = asked.Slice(index * PdsRegion.Bytes, PdsRegion.Bytes);
            var pages = BinaryPrimitives.ReadUInt32LittleEndian(entry[PdsRegion.Pages..]);
            var aligned = (pages + (Alignment - 1L)) / Alignment * Alignment;
            if (pages == 0 || aligned > uint.MaxValue || entry[PdsRegion.PageShift] is < 12 or > 30)
                return null;
            BinaryPrimitives.WriteUInt32LittleEndian(entry[PdsRegion.Pages..], (uint)aligned);
            regions.Add(new Region(BinaryPrimitives.ReadUInt64LittleEndian(entry), aligned, entry[PdsRegion.PageShift], bits));
            bits += aligned;
        }

        return new PdsDirtyLog(regions.MoveToImmutable());
    }

    public void Mark(ulong iova, int length)
    {
        foreach (var region in regions)
        {
            var last = (iova + (ulong)length - 1) >> region.PageShift;
            for (var page = iova >> region.PageShift; page <= last; page++)
            {
                var index = (long)(page - (region.Base >> region.PageShift));
                if (index >= 0 && index < region.Pages)
                    Differ(region.FirstBit + index);
            }
        }
    }

    public bool TryRead(uint offset, Span<byte> destination)
    {
        if (offset > sequence.Length || destination.Length > sequence.Length - offset)
            return false;
        sequence.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return true;
    }

    public bool TryAcknowledge(uint offset, ReadOnlySpan<byte> source)
    {
        if (offset > acknowledged.Length || source.Length > acknowledged.Length - offset)
            return false;
        source.CopyTo(acknowledged.AsSpan((int)offset));
        return true;
    }

    private void Differ(long bit)
    {
        var (at, mask) = (bit / 8, (byte)(1 << (int)(bit % 8)));
        if (((sequence[at] ^ acknowledged[at]) & mask) == 0)
            sequence[at] ^= mask;
    }
}
