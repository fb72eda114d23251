namespace Fabric.Vfio.Uapi;

/// <summary>The caller's descriptors, as far as a request needs them.</summary>
public interface IFileTable
{
    /// <summary>The eventfd behind a descriptor, or what is wrong with it (IO-47). Asked with 0 and above only.</summary>
    EventRef Eventfd(int fd);
}
