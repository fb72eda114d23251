using System.Numerics;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>
/// read(2) and write(2) on BARs, the ROM and the legacy VGA ranges (contract §2.13), and which BARs of an open device can be used at all
/// (LC-22, LC-23). One open, one of these.
/// </summary>
internal sealed class RegionAccess
{
    public const ulong PageBytes = 4096;

    /// <summary>Size of the VGA region: everything below the end of its ranges.</summary>
    public const ulong VgaBytes = 0xc0000;

    private const int BarCount = 6;

    /// <summary>Widths of one access to hardware, bytes.</summary>
    private const int WidestBarAccess = 8;

    private const int WidestRomAccess = 4;

    private readonly record struct VgaRange(ulong First, ulong Last);

    private static readonly VgaRange[] VgaRanges = [new(0xa0000, 0xbffff), new(0x3b0, 0x3bb), new(0x3c0, 0x3df)];

    private readonly IPciFunction function;
    private readonly MemoryGate gate;
    private readonly PciBar[] bars;
    private readonly VfioError[] claims = new VfioError[BarCount];
    private readonly bool[] mappable = new bool[BarCount];
    private readonly ulong romContent;

    public RegionAccess(IPciFunction function, PciBar[] bars, MsixTable msix, bool hasVga, MemoryGate gate)
    {
        this.function = function;
        this.bars = bars;
        this.gate = gate;
        Msix = msix;
        HasVga = hasVga;
        var rom = function.Rom;
        romContent = rom.BarSize == 0 ? Math.Max(rom.ContentBytes, rom.ShadowBytes) : rom.ContentBytes;
        RomBytes = romContent == 0 ? 0 : rom.BarSize != 0 ? rom.BarSize : BitOperations.RoundUpToPowerOf2(rom.ShadowBytes);
    }

    public MsixTable Msix { get; }

    public bool HasVga { get; }

    /// <summary>Bytes of the ROM region; 0 where its content cannot be read.</summary>
    public ulong RomBytes { get; }

    public ulong BarBytes(int bar) => bars[bar].Size;

    public bool IsMappable(int bar) => mappable[bar];

    /// <summary>What became of a BAR's claim (LC-22).</summary>
    public VfioError ClaimOf(int bar) => bars[bar].Size == 0 ? NoBar : claims[bar];

    /// <summary>Claims every BAR; what fails is remembered and does not fail the open (LC-22).</summary>
    public void ClaimBars()
    {
        for (var bar = 0; bar < BarCount; bar++)
            claims[bar] = bars[bar].Size == 0 ? default : function.ClaimBar(bar).Error;
    }

    /// <summary>Decides which BARs can be mapped (LC-23).</summary>
    public void DecideMappable()
    {
        var allowed = (function.Traits & FunctionTraits.UnmappableBars) == 0;
        for (var bar = 0; bar < BarCount; bar++)
            mappable[bar] = allowed && bars[bar].IsMemory && bars[bar].Size != 0 && (bars[bar].Size >= PageBytes || !bars[bar].SharesPage);
    }

    public void ReleaseBars()
    {
        for (var bar = 0; bar < BarCount; bar++)
        {
            if (bars[bar].Size != 0 && claims[bar].Errno == Errno.None)
                function.ReleaseBar(bar);
        }
    }

    /// <summary>Errors: EINVAL, EIO, and what the BAR's claim failed with (IO-111, IO-112, LC-22).</summary>
    public VfioResult<int> Read(int region, ulong offset, Span<byte> destination) => region switch
    {
        RegionIndex.Rom => ReadRom(offset, destination),
        RegionIndex.Vga => ReadVga(offset, destination),
        _ => ReadBar(region, offset, destination),
    };

    /// <summary>Errors: EINVAL, EIO, and what the BAR's claim failed with (IO-111, IO-112, LC-22).</summary>
    public VfioResult<int> Write(int region, ulong offset, ReadOnlySpan<byte> source) => region switch
    {
        RegionIndex.Rom => new VfioError(Errno.EINVAL, "The ROM cannot be written."),
        RegionIndex.Vga => WriteVga(offset, source),
        _ => WriteBar(region, offset, source),
    };

    // ---- BARs ------------------------------------------------------------------------------------------------------------------------

    private VfioResult<int> ReadBar(int bar, ulong offset, Span<byte> destination)
    {
        if (offset >= bars[bar].Size)
            return PastEnd;
        if (claims[bar].Errno != Errno.None)
            return claims[bar];
        var length = (int)Math.Min((ulong)destination.Length, bars[bar].Size - offset);
        if (Enter(bars[bar].IsMemory) is { Errno: not Errno.None } refused)
            return refused;
        try
        {
            for (var done = 0; done < length;)
            {
                var (hidden, upTo) = Part(bar, offset + (ulong)done, length - done);
                if (hidden)
                    destination.Slice(done, upTo).Fill(0xff);
                else if (ReadChunks(bar, offset + (ulong)done, destination.Slice(done, upTo), WidestBarAccess) is { IsOk: false } failed)
                    return failed.Error;
                done += upTo;
            }

            return length;
        }
        finally
        {
            gate.Leave();
        }
    }

    private VfioResult<int> WriteBar(int bar, ulong offset, ReadOnlySpan<byte> source)
    {
        if (offset >= bars[bar].Size)
            return PastEnd;
        if (claims[bar].Errno != Errno.None)
            return claims[bar];
        var length = (int)Math.Min((ulong)source.Length, bars[bar].Size - offset);
        if (Enter(bars[bar].IsMemory) is { Errno: not Errno.None } refused)
            return refused;
        try
        {
            for (var done = 0; done < length;)
            {
                var (hidden, upTo) = Part(bar, offset + (ulong)done, length - done);
                if (!hidden && WriteChunks(bar, offset + (ulong)done, source.Slice(done, upTo)) is { IsOk: false } failed)
                    return failed.Error;
                done += upTo;
            }

            return length;
        }
        finally
        {
            gate.Leave();
        }
    }

    /// <summary>Whether an offset lies in the MSI-X table, and how many of the bytes from there on do likewise (IO-111).</summary>
    private (bool Hidden, int Length) Part(int bar, ulong offset, int length)
    {
        if (!Msix.IsIn(bar) || offset >= Msix.End)
            return (false, length);
        return offset < Msix.Offset
            ? (false, (int)Math.Min((ulong)length, Msix.Offset - offset))
            : (true, (int)Math.Min((ulong)length, Msix.End - offset));
    }

    // ---- ROM and VGA -----------------------------------------------------------------------------------------------------------------

    private VfioResult<int> ReadRom(ulong offset, Span<byte> destination)
    {
        if (offset >= RomBytes)
            return PastEnd;
        var length = (int)Math.Min((ulong)destination.Length, RomBytes - offset);
        if (Enter(isMemory: true) is { Errno: not Errno.None } refused)
            return refused;
        try
        {
            var there = offset < romContent ? (int)Math.Min((ulong)length, romContent - offset) : 0;
            if (ReadChunks(RegionIndex.Rom, offset, destination[..there], WidestRomAccess) is { IsOk: false } failed)
                return failed.Error;
            destination[there..length].Fill(0xff);                                       // IO-113
            return length;
        }
        finally
        {
            gate.Leave();
        }
    }

    private VfioResult<int> ReadVga(ulong offset, Span<byte> destination)
    {
        var length = VgaLength(offset, destination.Length);
        if (length == 0)
            return NoVga;
        if (Enter(isMemory: false) is { Errno: not Errno.None } refused)
            return refused;
        try
        {
            var read = ReadChunks(RegionIndex.Vga, offset, destination[..length], WidestRomAccess);
            return read.IsOk ? length : read.Error;
        }
        finally
        {
            gate.Leave();
        }
    }

    private VfioResult<int> WriteVga(ulong offset, ReadOnlySpan<byte> source)
    {
        var length = VgaLength(offset, source.Length);
        if (length == 0)
            return NoVga;
        if (Enter(isMemory: false) is { Errno: not Errno.None } refused)
            return refused;
        try
        {
            var written = WriteChunks(RegionIndex.Vga, offset, source[..length]);
            return written.IsOk ? length : written.Error;
        }
        finally
        {
            gate.Leave();
        }
    }

    private int VgaLength(ulong offset, int length)
    {
        if (!HasVga)
            return 0;
        foreach (var range in VgaRanges)
        {
            if (offset >= range.First && offset <= range.Last)
                return (int)Math.Min((ulong)length, range.Last - offset + 1);
        }

        return 0;
    }

    // ---- One access to hardware after the other --------------------------------------------------------------------------------------

    private VfioResult ReadChunks(int region, ulong offset, Span<byte> destination, int widest)
    {
        while (!destination.IsEmpty)
        {
            var width = Width(offset, destination.Length, widest);
            var read = function.ReadRegion(region, offset, destination[..width]);
            if (!read.IsOk)
                return read;
            offset += (ulong)width;
            destination = destination[width..];
        }

        return VfioResult.Ok;
    }

    private VfioResult WriteChunks(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var width = Width(offset, source.Length, region == RegionIndex.Vga ? WidestRomAccess : WidestBarAccess);
            var written = function.WriteRegion(region, offset, source[..width]);
            if (!written.IsOk)
                return written;
            offset += (ulong)width;
            source = source[width..];
        }

        return VfioResult.Ok;
    }

    /// <summary>The widest naturally aligned access that fits (IO-111).</summary>
    private static int Width(ulong offset, int length, int widest)
    {
        var width = widest;
        while (width > length || (offset & (ulong)(width - 1)) != 0)
            width >>= 1;
        return width;
    }

    /// <summary>
    /// read(2) and write(2) take the device out of low power while they last (LC-61), and go on in I/O space whatever becomes of memory
    /// (IO-112).
    /// </summary>
    private VfioError Enter(bool isMemory)
    {
        var despite = isMemory ? MemoryBlocks.LowPower : MemoryBlocks.LowPower | MemoryBlocks.Decode | MemoryBlocks.Power;
        return gate.TryEnter(despite) == MemoryBlocks.None
            ? default
            : new VfioError(Errno.EIO, "The function's memory is off: set the memory bit of COMMAND, and take the function out of D3.");
    }

    private static VfioError PastEnd => new(Errno.EINVAL, "The region is not there, or the offset lies past its end; look at GET_REGION_INFO.");

    private static VfioError NoVga => new(Errno.EINVAL, "The offset lies in none of the legacy VGA ranges, or the function is no VGA device.");

    private static VfioError NoBar => new(Errno.ENODEV, "The function has no such BAR; look at GET_REGION_INFO.");
}
