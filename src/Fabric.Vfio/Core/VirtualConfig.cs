using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>
/// Config space as the holder of an open device sees it (contract §3): a shadow for what is virtual, hardware for the rest. Filled from
/// hardware at each open and dropped at close (CF-4).
/// </summary>
internal sealed class VirtualConfig
{
    private readonly IPciFunction function;
    private readonly byte[] shadow = new byte[ConfigOffset.ConventionalSize];

    public VirtualConfig(IPciFunction function)
    {
        this.function = function;
        function.ReadConfig(0, shadow);

        // A VF's ids read 0xffff in hardware (contract §3.2).
        BinaryPrimitives.WriteUInt16LittleEndian(shadow.AsSpan(ConfigOffset.VendorId), function.Ids.Vendor);
        BinaryPrimitives.WriteUInt16LittleEndian(shadow.AsSpan(ConfigOffset.DeviceId), function.Ids.Device);
        shadow[ConfigOffset.InterruptPin] = 0;
        MemoryEnabled = true;                                                            // LC-24
    }

    /// <summary>Memory decode as the holder set it. A VF has no such bit in hardware: shadow only (CF-13).</summary>
    public bool MemoryEnabled { get; private set; }

    /// <summary>Errors: EFAULT outside config space (CF-2).</summary>
    public VfioResult<int> Read(ulong offset, Span<byte> destination)
    {
        if (!InRange(offset, destination.Length))
            return OutOfRange;
        var start = (int)offset;
        function.ReadConfig(start, destination);
        for (var i = 0; i < destination.Length && start + i < ConfigOffset.ConventionalSize; i++)
        {
            var isVirtual = ConfigPermissions.Virtual[start + i];
            destination[i] = (byte)((ShadowByte(start + i) & isVirtual) | (destination[i] & ~isVirtual));
        }

        if (start <= ConfigOffset.Command && start + destination.Length > ConfigOffset.Command && function.IsVirtualFunction)
        {
            ref var command = ref destination[ConfigOffset.Command - start];
            command = (byte)((command & ~(byte)PciCommand.MemorySpace) | (MemoryEnabled ? (byte)PciCommand.MemorySpace : 0));
        }

        return destination.Length;
    }

    /// <summary>Errors: EFAULT outside config space (CF-2). What is not writable is dropped in silence (CF-3).</summary>
    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (!InRange(offset, source.Length))
            return OutOfRange;
        Span<byte> current = stackalloc byte[1];
        for (var i = 0; i < source.Length; i++)
        {
            var at = (int)offset + i;
            if (at >= ConfigOffset.ConventionalSize || ConfigPermissions.Writable[at] == 0)
                continue;
            var writable = ConfigPermissions.Writable[at];
            var isVirtual = ConfigPermissions.Virtual[at];
            shadow[at] = Merge(shadow[at], source[i], (byte)(writable & isVirtual));

            var toHardware = (byte)(writable & ~isVirtual);
            if (toHardware == 0)
                continue;
            function.ReadConfig(at, current);
            current[0] = Merge(current[0], source[i], toHardware);
            function.WriteConfig(at, current);
        }

        // CF-5: COMMAND acts when a chunk starts at its offset, and in every access that has this byte one does (CF-2).
        if (offset <= ConfigOffset.Command && offset + (ulong)source.Length > ConfigOffset.Command)
            MemoryEnabled = (source[ConfigOffset.Command - (int)offset] & (byte)PciCommand.MemorySpace) != 0;
        return source.Length;
    }

    private static VfioResult<int> OutOfRange => new VfioError(Errno.EFAULT, "The access lies outside config space; look at the size of region 7.");

    private static byte Merge(byte old, byte value, byte mask) => (byte)((old & ~mask) | (value & mask));

    private bool InRange(ulong offset, int length) => offset <= (ulong)function.ConfigSize && (ulong)length <= (ulong)function.ConfigSize - offset;

    private byte ShadowByte(int at) => at switch
    {
        >= ConfigOffset.Bar0 and < ConfigOffset.Bar0 + 24 => BarByte(at),
        >= ConfigOffset.RomBar and < ConfigOffset.RomBar + 4 => 0,                       // CF-21: no function has a ROM
        _ => shadow[at],
    };

    /// <summary>CF-20: a BAR reads back its address bits and its type bits, so that writing ones tells the size.</summary>
    private byte BarByte(int at)
    {
        var bar = (at - ConfigOffset.Bar0) / 4;
        var size = function.Bars[bar].Size;
        if (size == 0)
            return UpperHalfByte(at, bar);
        var value = BinaryPrimitives.ReadUInt32LittleEndian(shadow.AsSpan(ConfigOffset.Bar0 + (4 * bar)));
        var fixedUp = (value & (uint)~(size - 1) & ~0xfu) | BarType;
        return (byte)(fixedUp >> (8 * (at & 3)));
    }

    private byte UpperHalfByte(int at, int bar)
    {
        if (bar == 0 || function.Bars[bar - 1].Size == 0)
            return 0;
        var upperMask = (uint)(~(function.Bars[bar - 1].Size - 1) >> 32);
        var value = BinaryPrimitives.ReadUInt32LittleEndian(shadow.AsSpan(ConfigOffset.Bar0 + (4 * bar))) & upperMask;
        return (byte)(value >> (8 * (at & 3)));
    }

    /// <summary>Memory, 64-bit, prefetchable: what every BAR of ours is.</summary>
    private const uint BarType = 0xc;
}
