using System.Net.Sockets;
using Fabric.Linux;

namespace Fabric.VfioUser.Linux;

/// <summary>The file of a UNIX socket.</summary>
internal static class SocketFile
{
    private const int Here = -100;
    private const int NotThroughLinks = 0x100;
    private const uint TypeAndOwner = 0x1 | 0x8;
    private const ushort TypeMask = 0xf000;
    private const ushort SocketType = 0xc000;
    private const uint OwnerAlone = 0x180;

    public enum Found
    {
        Nothing,
        Socket,
        SocketOfOther,
        Other,
    }

    /// <summary>What is at a path; nothing is opened, and no link followed.</summary>
    public static unsafe Found Look(string path)
    {
        Libc.FileStatus status;
        if (Libc.StatusAt(Here, path, NotThroughLinks, TypeAndOwner, &status) != 0)
            return Found.Nothing;
        if ((status.Mode & TypeMask) != SocketType)
            return Found.Other;
        return status.Owner == Libc.EffectiveUser() ? Found.Socket : Found.SocketOfOther;
    }

    /// <summary>
    /// Mode 0600, before it is bound: the file takes the mode of the socket when it is made, so there is no moment in which others could connect.
    /// </summary>
    /// <exception cref="IOException">The mode cannot be set.</exception>
    public static void KeepToOwner(Socket unbound)
    {
        if (Libc.ChangeMode(unbound.SafeHandle, OwnerAlone) != 0)
            throw new IOException("The mode of the socket cannot be set.");
    }
}
