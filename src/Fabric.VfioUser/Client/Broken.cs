using Fabric.Vfio;

namespace Fabric.VfioUser.Client;

/// <summary>Why a server is not spoken to any more. Whatever is asked of it then fails with the same.</summary>
internal static class Broken
{
    public static VfioError Closed => new(Errno.EIO, "The vfio-user server has closed its socket; start it again.");

    public static VfioError Silent => new(Errno.ETIMEDOUT, "The vfio-user server did not answer in time; look what it hangs in, or start it again.");

    public static VfioError Slow => new(
        Errno.ETIMEDOUT, "The vfio-user server left a message half sent, or unread; look what it hangs in, or start it again.");

    public static VfioError Unasked => new(
        Errno.EIO, "The vfio-user server answered what it was not asked, or with more than it was asked for; it is broken.");

    public static VfioError NoMessage => new(Errno.EIO, "The vfio-user server sent what is no message of the protocol; it is broken.");

    public static VfioError TooMuchDma => new(Errno.EIO, "The vfio-user server sends DMA and does not wait for its answers; it is broken.");

    public static VfioError LetGo => new(Errno.EIO, "The vfio-user device was let go of.");

    public static VfioError ShortAnswer => new(Errno.EIO, "The vfio-user server answered with less than was asked for; it is broken.");
}
