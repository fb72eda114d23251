using Microsoft.Win32.SafeHandles;

namespace Fabric.Linux;

/// <summary>A file descriptor that is ours to close.</summary>
internal class Descriptor : SafeHandleMinusOneIsInvalid
{
    public Descriptor(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    public int Number => (int)handle;

    protected override bool ReleaseHandle() => Libc.Close((int)handle) == 0;
}
