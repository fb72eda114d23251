using Fabric.Vfio;

namespace Fabric.VfioUser.Server;

/// <summary>What requests are refused with that never get as far as the device. The client sees the errno, the log the sentence.</summary>
internal static class Refused
{
    public static VfioError Length =>
        new(Errno.EINVAL, "The payload is not as long as the command's; send its structure, and the data that it announces.");

    public static VfioError Argsz =>
        new(Errno.EINVAL, "argsz is below the fixed part of the command; set it to the size of what the reply may take.");

    public static VfioError Flags => new(Errno.EINVAL, "A flag or a field that must be 0 is not known; leave it out.");

    public static VfioError Descriptors => new(Errno.EINVAL, "Descriptors came that the command does not take, or more than max_msg_fds.");
}
