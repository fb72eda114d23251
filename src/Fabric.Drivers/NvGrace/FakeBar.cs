using System.Buffers.Binary;
using System.Numerics;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.NvGrace;

/// <summary>
/// A 64-bit BAR that the function has not, shown over memory beside PCI (VD-NVG-2, VD-NVG-3). Its size is a power of two, the memory's need
/// not be: what lies between reads all ones and takes no write.
/// </summary>
/// <param name="address">Physical, of the memory.</param>
/// <param name="length">Bytes of the memory.</param>
internal sealed class FakeBar(int index, ulong address, ulong length)
{
    private readonly byte[] register = new byte[sizeof(ulong)];

    public int Index => index;

    public ulong Address => address;

    public ulong Length => length;

    /// <summary>Bytes of the BAR.</summary>
    public ulong Size { get; } = BitOperations.RoundUpToPowerOf2(length);

    public RegionInfo Info => new(index, RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap, Size)
    {
        Caps = [new RegionCapability.SparseMmap([new RegionArea(0, length)])],
    };

    /// <summary>The memory, for as long as the device is open.</summary>
    public ReadyMemory? Memory { get; private set; }

    /// <summary>The real part as its holder maps it: for as long as its session, and while the function's memory is on.</summary>
    public RegionMapping? Mapping { get; private set; }

    /// <param name="control">BAR 0, mapped in the session.</param>
    public void Open(RegionMapping control, IPlatformMemory memory)
    {
        Memory = new ReadyMemory(control, memory);
        Mapping = control.To(Memory, length);
    }

    private int RegisterAt => ConfigOffset.Bar0 + (4 * index);

    // ---- Its registers ---------------------------------------------------------------------------------------------------------------

    public void Clear() => Array.Clear(register);

    /// <summary>What the holder writes to config space goes to the core all the same.</summary>
    public void Take(ulong offset, ReadOnlySpan<byte> written) => ConfigOverlay.Lay(written, (long)offset, register, RegisterAt);

    public void Show(ulong offset, Span<byte> answered)
    {
        Span<byte> value = stackalloc byte[sizeof(ulong)];
        var written = BinaryPrimitives.ReadUInt64LittleEndian(register);
        BinaryPrimitives.WriteUInt64LittleEndian(value, (written & ~(Size - 1)) | BarBits.Memory64 | BarBits.Prefetchable);
        ConfigOverlay.Lay(value, RegisterAt, answered, (long)offset);
    }

    // ---- Its content -----------------------------------------------------------------------------------------------------------------

    /// <summary>Shorter than asked for at the end of the BAR. Errors: EINVAL past it, and those of the memory.</summary>
    public VfioResult<byte[]> Read(ulong offset, int count)
    {
        if (offset >= Size)
            return Outside;
        var data = new byte[(int)Math.Min((ulong)count, Size - offset)];
        var real = RealPart(offset, data.Length);
        data.AsSpan(real).Fill(0xff);
        var read = real == 0 ? VfioResult.Ok : Memory!.Read(offset, data.AsSpan(0, real));
        return read.IsOk ? data : read.Error;
    }

    /// <summary>Returns the bytes taken, dropped ones among them. Errors: EINVAL past the end of the BAR, and those of the memory.</summary>
    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> data)
    {
        if (offset >= Size)
            return Outside;
        var count = (int)Math.Min((ulong)data.Length, Size - offset);
        var real = RealPart(offset, count);
        var written = real == 0 ? VfioResult.Ok : Memory!.Write(offset, data[..real]);
        return written.IsOk ? count : written.Error;
    }

    private int RealPart(ulong offset, int count) => offset >= length ? 0 : (int)Math.Min((ulong)count, length - offset);

    private static VfioError Outside => new(Errno.EINVAL, "The access lies past the end of the BAR; GET_REGION_INFO tells its size.");
}
