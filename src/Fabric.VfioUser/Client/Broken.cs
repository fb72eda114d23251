using System.Collections.Frozen;
using Fabric.Vfio;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>What a server's requests fail with: an answer that says no, or why it is not spoken to any more.</summary>
internal static class Broken
{
    private const uint MostErrno = 4095;

    private static readonly FrozenDictionary<Command, string> Refusals = Enum.GetValues<Command>().ToFrozenDictionary(
        static command => command, static command => $"The vfio-user server refused {command}; its log says why.");

    /// <summary>Of an answer that says no. A number that is no errno, or none at all, is the server's own trouble: EIO.</summary>
    public static VfioError Refusal(MessageHeader answer) => new(
        answer.Error is > 0 and <= MostErrno ? (Errno)answer.Error : Errno.EIO, Refusals[answer.Command]);

    public static VfioError Closed => new(Errno.EIO, "The vfio-user server has closed its socket; start it again.");

    public static VfioError Silent => new(Errno.ETIMEDOUT, "The vfio-user server did not answer in time; look what it hangs in, or start it again.");

    public static VfioError Slow => new(
        Errno.ETIMEDOUT, "The vfio-user server left a message half sent, or unread; look what it hangs in, or start it again.");

    public static VfioError Unasked => new(
        Errno.EIO, "The vfio-user server answered what it was not asked, or with more than it was asked for; it is broken.");

    public static VfioError NoMessage => new(Errno.EIO, "The vfio-user server sent what is no message of the protocol; it is broken.");

    public static VfioError TooMuchDma => new(Errno.EIO, "The vfio-user server sends DMA and does not wait for its answers; it is broken.");

    public static VfioError LetGo => new(Errno.EIO, "The vfio-user device was let go of.");

    public static VfioError WrongAnswer => new(Errno.EIO, "The vfio-user server answered something else than was asked for; it is broken.");
}
