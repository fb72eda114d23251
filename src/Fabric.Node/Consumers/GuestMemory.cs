using Fabric.Vfio;

namespace Fabric.Node.Consumers;

/// <summary>Memory of an emulated guest: pinned, as memory that is mapped for DMA must be.</summary>
internal sealed class GuestMemory : IDmaMemory
{
    private readonly byte[] memory;
    private readonly int start;
    private readonly int length;

    public GuestMemory(long bytes)
        : this(GC.AllocateArray<byte>(checked((int)bytes), pinned: true), 0, checked((int)bytes))
    {
    }

    private GuestMemory(byte[] memory, int start, int length) => (this.memory, this.start, this.length) = (memory, start, length);

    public ulong Length => (ulong)length;

    public Span<byte> Window(ulong offset, int length) => memory.AsSpan(start, this.length).Slice(checked((int)offset), length);

    /// <summary>A part of the same memory.</summary>
    public GuestMemory Part(int offset, int length) => new(memory, start + offset, Window((ulong)offset, length).Length);
}
