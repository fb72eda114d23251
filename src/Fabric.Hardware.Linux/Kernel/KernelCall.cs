using System.Runtime.InteropServices;
using Fabric.Linux;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>System calls as results: the kernel's errno, with a sentence of who called. One that a signal interrupted is made again.</summary>
internal static unsafe class KernelCall
{
    /// <param name="argument">Read and written by the kernel.</param>
    public static VfioResult<int> Ioctl<T>(SafeHandle file, uint number, ref T argument, string refused) where T : unmanaged
    {
        fixed (T* address = &argument)
            return Ioctl(file, number, address, refused);
    }

    /// <param name="buffer">A structure and what follows it; read and written by the kernel.</param>
    public static VfioResult<int> Ioctl(SafeHandle file, uint number, Span<byte> buffer, string refused)
    {
        fixed (byte* address = buffer)
            return Ioctl(file, number, address, refused);
    }

    /// <param name="value">The argument itself, where the request takes no structure.</param>
    public static VfioResult<int> Ioctl(SafeHandle file, uint number, nint value, string refused) => Ioctl(file, number, (void*)value, refused);

    /// <summary>Errors: EBADF once the file is closed, and the kernel's.</summary>
    private static VfioResult<int> Ioctl(SafeHandle file, uint number, void* argument, string refused)
    {
        while (!file.IsClosed)
        {
            var value = Libc.Ioctl(file, number, argument);
            if (value >= 0)
                return value;
            if (Marshal.GetLastPInvokeError() != Libc.EINTR)
                return Failure(refused);
        }

        return new VfioError(Errno.EBADF, "The kernel's device is closed.");
    }

    /// <summary>Opens a file for reading and writing, closed on exec.</summary>
    public static VfioResult<Descriptor> Open(string path, string refused)
    {
        var fd = Libc.Open(path, Libc.ReadWrite | Libc.CloseOnExec);
        return fd >= 0 ? new Descriptor(fd) : Failure(refused);
    }

    /// <summary>What the call just made failed with.</summary>
    public static VfioError Failure(string refused) => new((Errno)Marshal.GetLastPInvokeError(), refused);
}
