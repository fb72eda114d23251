using Fabric.Vfio;

namespace Fabric.Node.Consumers;

/// <summary>Memory of an emulated guest: pinned, as memory that is mapped for DMA must be.</summary>
internal sealed class GuestMemory(long bytes) : IDmaMemory
{
    private readonly byte[] memory = GC.AllocateArray<byte>(checked((int)bytes), pinned: true);

    public ulong Length => (ulong)memory.Length;

    public Span<byte> Window(ulong offset, int length) => memory.AsSpan(checked((int)offset), length);
}
