namespace Fabric.Vfio.Uapi;

/// <summary>The memory that a caller's pointers point into. False is EFAULT: not all of the range is there; what was moved is undefined.</summary>
public interface IUserMemory
{
    bool TryRead(ulong address, Span<byte> destination);

    bool TryWrite(ulong address, ReadOnlySpan<byte> source);
}
