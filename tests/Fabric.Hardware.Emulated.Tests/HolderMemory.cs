using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests;

internal sealed class HolderMemory(int length) : IDmaMemory
{
    public byte[] Bytes { get; } = new byte[length];

    public ulong Length => (ulong)Bytes.Length;

    public Span<byte> Window(ulong offset, int length) => Bytes.AsSpan((int)offset, length);
}
