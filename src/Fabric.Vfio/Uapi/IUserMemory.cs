using System.Diagnostics.CodeAnalysis;

namespace Fabric.Vfio.Uapi;

/// <summary>The memory that a caller's pointers point into. False is EFAULT: not all of the range is there; what was moved is undefined.</summary>
public interface IUserMemory
{
    bool TryRead(ulong address, Span<byte> destination);

    bool TryWrite(ulong address, ReadOnlySpan<byte> source);

    /// <summary>Pins a range, so that DMA can reach it until it is unmapped. The range is not empty and does not wrap around.</summary>
    /// <param name="access">What a device will do there: who asks for writes must be able to write.</param>
    bool TryPin(ulong address, ulong length, DmaAccess access, [NotNullWhen(true)] out IDmaMemory? pinned)
    {
        pinned = null;
        return false;
    }
}
