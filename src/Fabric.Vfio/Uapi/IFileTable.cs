using Fabric.Vfio.Files;

namespace Fabric.Vfio.Uapi;

/// <summary>The caller's descriptors, as far as a request needs them. A table that has eventfds alone leaves the rest as it is here.</summary>
public interface IFileTable
{
    /// <summary>The eventfd behind a descriptor, or what is wrong with it (IO-47). Asked with 0 and above only.</summary>
    EventRef Eventfd(int fd);

    /// <summary>The file behind a descriptor; null where that is open, and of another kind. Errors: EBADF not open.</summary>
    VfioResult<VfioFile?> File(int fd) => new VfioError(Errno.EBADF, "The file descriptor is not open.");

    /// <summary>Takes a descriptor for a file that is about to be; <see cref="Install"/> or <see cref="Release"/> follows. Errors: EMFILE.</summary>
    VfioResult<int> Reserve() => new VfioError(Errno.EMFILE, "The caller can have no more descriptors; close some.");

    /// <summary>Puts a file behind a descriptor that was taken for it.</summary>
    void Install(int fd, VfioFile file)
    {
    }

    /// <summary>Gives a descriptor back that no file was put behind.</summary>
    void Release(int fd)
    {
    }
}
