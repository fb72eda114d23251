using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Pds;

/// <summary>
/// The VF's DMA log: a page is dirty where the device's sequence bit is not what the host acknowledged last; then that is acknowledged
/// (VD-PDS-4). What is dirtied between the two is dirty the next time.
/// </summary>
/// <param name="maxRegions">Regions that the device watches at once.</param>
internal sealed class PdsDmaLog(PdsCommands device, PdsHost host, int maxRegions) : IDirtyLogOps
{
    /// <summary>Most of a bitmap that one command carries.</summary>
    private const int ChunkBytes = 0x10000;
    private const int WordBits = PdsRegion.WordPages;

    private readonly byte[] reply = new byte[PdsAdminQueue.CompletionBytes + ChunkBytes];
    private readonly byte[] command = new byte[PdsAdminQueue.DescriptorBytes + ChunkBytes];
    private Region[] regions = [];
    private ulong[] acknowledged = [];
    private int pageShift;

    /// <param name="FirstWord">Of its part of the bitmap.</param>
    private readonly record struct Region(IovaRange Range, long FirstWord);

    public int MaxRanges => maxRegions;

    /// <summary>4 KiB to 1 GiB.</summary>
    public ulong PageSizes => 0x7fff_f000;

    public bool IsOn => regions.Length > 0;

    public bool HasEnded { get; private set; }

    /// <summary>
    /// Regions are whole words of the bitmap: what they watch beside what was asked for is not reported. Errors: E2BIG for more pages than the device
    /// counts; EEXIST, EOPNOTSUPP (MG-40), and those of the card.
    /// </summary>
    public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
    {
        var asked = IovaRange.Merge(ranges.Select(range => range.Widen(pageSize * PdsRegion.WordPages)), maxRegions);
        if (asked.Any(range => (range.Length - 1) / pageSize >= uint.MaxValue))
            return VfioResult.Fail(Errno.E2BIG, "A range has more pages than the device counts; give smaller ranges, or larger pages.");
        var begun = host.Begin(PdsActivity.Logging);
        var entries = new byte[asked.Count * PdsRegion.Bytes];
        pageShift = BitOperations.Log2(pageSize);
        for (var index = 0; index < asked.Count; index++)
            Describe(asked[index], entries.AsSpan(index * PdsRegion.Bytes));
        var enabled = begun.IsOk ? device.EnableDirty(asked.Count, entries) : begun;
        if (enabled.IsOk)
            Adopt(asked, entries);
        else
            host.End(PdsActivity.Logging);
        return enabled;
    }

    public VfioResult Stop()
    {
        var disabled = IsOn ? device.DisableDirty() : VfioResult.Ok;
        Drop();
        return disabled;
    }

    /// <summary>The log ends with the migration's stream (contract §7.2). Errors: those of the card; it has ended in any case.</summary>
    public VfioResult End()
    {
        HasEnded |= IsOn;
        return Stop();
    }

    /// <summary>Firmware has lost the log, and is told nothing of it.</summary>
    public void Lose()
    {
        HasEnded |= IsOn;
        Drop();
    }

    public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
    {
        foreach (var region in regions)
        {
            if (!region.Range.Overlaps(range))
                continue;
            var first = (Math.Max(range.First, region.Range.First) - region.Range.First) >> pageShift;
            var last = (Math.Min(range.Last, region.Range.Last) - region.Range.First) >> pageShift;
            var read = Read(region, (long)first, (long)last, dirty);
            if (!read.IsOk)
                return read;
        }

        return VfioResult.Ok;
    }

    private void Describe(IovaRange range, Span<byte> entry)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(entry, range.First);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[PdsRegion.Pages..], (uint)(((range.Length - 1) >> pageShift) + 1));
        entry[PdsRegion.PageShift] = (byte)pageShift;
    }

    /// <summary>The device may give a region more of the bitmap than was asked for, which moves those behind it.</summary>
    private void Adopt(IReadOnlyList<IovaRange> asked, ReadOnlySpan<byte> entries)
    {
        var words = 0L;
        var adopted = new Region[asked.Count];
        for (var index = 0; index < adopted.Length; index++)
        {
            adopted[index] = new Region(asked[index], words);
            words += BinaryPrimitives.ReadUInt32LittleEndian(entries[((index * PdsRegion.Bytes) + PdsRegion.Pages)..]) / WordBits;
        }

        (regions, acknowledged, HasEnded) = (adopted, new ulong[words], false);
    }

    private void Drop()
    {
        (regions, acknowledged) = ([], []);
        host.End(PdsActivity.Logging);
    }

    /// <summary>Pages first to last of a region, by as many words as one command carries.</summary>
    private VfioResult Read(Region region, long first, long last, IDirtyPages dirty)
    {
        for (var word = first / WordBits; word <= last / WordBits; word += ChunkBytes / sizeof(ulong))
        {
            var count = (int)Math.Min(ChunkBytes / sizeof(ulong), (last / WordBits) - word + 1);
            var offset = (uint)((region.FirstWord + word) * sizeof(ulong));
            var read = device.ReadSequence(offset, reply.AsSpan(0, PdsAdminQueue.CompletionBytes + (count * sizeof(ulong))));
            if (!read.IsOk)
                return Lost(read);
            var sequence = MemoryMarshal.Cast<byte, ulong>(reply.AsSpan(PdsAdminQueue.CompletionBytes, count * sizeof(ulong)));
            var known = acknowledged.AsSpan((int)(region.FirstWord + word), count);
            for (var index = 0; index < count; index++)
                sequence[index] = (sequence[index] ^ known[index]) & Mask(word + index, first, last);
            var written = Acknowledge(offset, sequence, known);
            if (!written.IsOk)
                return Lost(written);
            for (var index = 0; index < count; index++)
            {
                known[index] ^= sequence[index];
                Mark(region, (word + index) * WordBits, sequence[index], dirty);
            }
        }

        return VfioResult.Ok;
    }

    /// <summary>Only what is reported is acknowledged.</summary>
    private VfioResult Acknowledge(uint offset, ReadOnlySpan<ulong> dirty, ReadOnlySpan<ulong> known)
    {
        var whole = command.AsSpan(0, PdsAdminQueue.DescriptorBytes + (dirty.Length * sizeof(ulong)));
        var words = MemoryMarshal.Cast<byte, ulong>(whole[PdsAdminQueue.DescriptorBytes..]);
        for (var index = 0; index < dirty.Length; index++)
            words[index] = known[index] ^ dirty[index];
        return device.WriteAcknowledgement(offset, whole);
    }

    private void Mark(Region region, long firstPage, ulong bits, IDirtyPages dirty)
    {
        while (bits != 0)
        {
            var from = BitOperations.TrailingZeroCount(bits);
            var run = BitOperations.TrailingZeroCount(~(bits >> from));
            dirty.Mark(region.Range.First + ((ulong)(firstPage + from) << pageShift), (ulong)run << pageShift);
            bits = from + run == WordBits ? 0 : bits & (ulong.MaxValue << (from + run));
        }
    }

    /// <summary>The bits of a word that stand for pages first to last.</summary>
    private static ulong Mask(long word, long first, long last)
    {
        var mask = ulong.MaxValue;
        if (word == first / WordBits)
            mask &= ulong.MaxValue << (int)(first % WordBits);
        if (word == last / WordBits)
            mask &= ulong.MaxValue >> (int)(WordBits - 1 - (last % WordBits));
        return mask;
    }

    /// <summary>What was read and not acknowledged, or not read, is known to nobody: the log is broken (MG-41).</summary>
    private static VfioResult Lost(VfioResult cause) => VfioResult.Fail(Errno.EIO, cause.Error.Sentence);
}
