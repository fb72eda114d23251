using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Server;

/// <summary>Memory that a client mapped without a descriptor: reached by messages.</summary>
internal sealed class ClientMemory(ulong iova, ulong length, ClientDma dma) : IDmaTarget, IDisposable
{
    private volatile bool hasEnded;

    public ulong Length => length;

    /// <summary>It is unmapped: nothing is written there any more, not even what was posted before.</summary>
    public bool HasEnded => hasEnded;

    public bool TryRead(ulong offset, Span<byte> destination) => !hasEnded && dma.TryRead(this, iova + offset, destination);

    public bool TryWrite(ulong offset, ReadOnlySpan<byte> source) => !hasEnded && dma.TryWrite(this, iova + offset, source);

    public void Dispose() => hasEnded = true;
}

/// <summary>An interrupt's eventfd, which does not overtake the device's DMA.</summary>
internal sealed class ClientEvent(EventFd eventfd, ClientDma dma) : IEventTarget, IDisposable
{
    public void Signal() => dma.Signal(eventfd);

    public void Dispose() => eventfd.Dispose();
}
