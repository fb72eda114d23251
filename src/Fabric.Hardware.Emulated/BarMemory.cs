using System.Buffers.Binary;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// Plain memory behind the BARs of a function, which comes to be at the first write; untouched it reads 0. Small BARs only. Not safe to use
/// from two threads at once.
/// </summary>
internal sealed class BarMemory(IReadOnlyList<PciBar> bars)
{
    private readonly byte[]?[] content = new byte[]?[bars.Count];

    public void Read(int bar, ulong offset, Span<byte> destination)
    {
        if (content[bar] is { } bytes)
            bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
        else
            destination.Clear();
    }

    public void Write(int bar, ulong offset, ReadOnlySpan<byte> source) =>
        source.CopyTo((content[bar] ??= new byte[bars[bar].Size]).AsSpan((int)offset));

    public uint Read32(int bar, ulong offset)
    {
        Span<byte> value = stackalloc byte[sizeof(uint)];
        Read(bar, offset, value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    public void Write32(int bar, ulong offset, uint value)
    {
        if (Read32(bar, offset) == value)
            return;
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Write(bar, offset, bytes);
    }

    public void Clear() => Array.Clear(content);
}
