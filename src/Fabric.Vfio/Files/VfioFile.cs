using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// What a descriptor stands for: the system calls on it, answered as the kernel answers them. One caller at a time across all files of a host,
/// but for the data of a migration, which has its own rules. A call that a file does not have is refused as the kernel refuses it.
/// </summary>
public abstract class VfioFile
{
    private protected VfioFile()
    {
    }

    /// <summary>Nothing but EBADF comes of it any more.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>ioctl(2): what it returns, 0 or above, or an errno.</summary>
    /// <param name="argument">As it was passed: an address in the caller's memory, for most requests.</param>
    public VfioResult<int> Ioctl(uint number, ulong argument, IUserMemory memory, IFileTable files)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(files);
        return IsClosed ? Closed : OnIoctl(number, argument, memory, files);
    }

    /// <summary>read(2), where the file itself is.</summary>
    public VfioResult<int> Read(Span<byte> destination) => IsClosed ? Closed : OnRead(destination);

    /// <summary>pread(2).</summary>
    public VfioResult<int> ReadAt(ulong position, Span<byte> destination) => IsClosed ? Closed : OnReadAt(position, destination);

    /// <summary>write(2), where the file itself is.</summary>
    public VfioResult<int> Write(ReadOnlySpan<byte> source) => IsClosed ? Closed : OnWrite(source);

    /// <summary>pwrite(2).</summary>
    public VfioResult<int> WriteAt(ulong position, ReadOnlySpan<byte> source) => IsClosed ? Closed : OnWriteAt(position, source);

    /// <summary>mmap(2), offset and length in bytes.</summary>
    public VfioResult<RegionMapping> Map(ulong offset, ulong length, MapOptions options = MapOptions.None) =>
        IsClosed ? Closed : OnMap(offset, length, options);

    /// <summary>The last close(2) of the descriptor. Nothing happens the second time.</summary>
    public void Close()
    {
        if (IsClosed)
            return;
        IsClosed = true;
        OnClose();
    }

    private protected abstract VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files);

    private protected virtual VfioResult<int> OnRead(Span<byte> destination) => NotReadable;

    private protected virtual VfioResult<int> OnReadAt(ulong position, Span<byte> destination) => NotReadable;

    private protected virtual VfioResult<int> OnWrite(ReadOnlySpan<byte> source) => NotReadable;

    private protected virtual VfioResult<int> OnWriteAt(ulong position, ReadOnlySpan<byte> source) => NotReadable;

    private protected virtual VfioResult<RegionMapping> OnMap(ulong offset, ulong length, MapOptions options) =>
        new VfioError(Errno.ENODEV, "This file cannot be mapped; devices can.");

    private protected abstract void OnClose();

    private protected static VfioError UnknownNumber => new(Errno.ENOTTY, "This file has no such ioctl.");

    private protected static VfioError BadAddress => new(Errno.EFAULT, "The ioctl's argument points to memory that is not there.");

    private static VfioError Closed => new(Errno.EBADF, "The file is closed.");

    private static VfioError NotReadable => new(Errno.EINVAL, "This file is neither read nor written; devices and migration data are.");
}
