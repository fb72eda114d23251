using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>
/// REGION_READ and REGION_WRITE, in as many messages as the server's bounds take. A write is answered before the next thing is done, so that its
/// error is its caller's.
/// </summary>
internal static class RemoteRegions
{
    /// <summary>Errors: the server's; EIO for an answer that is not that of the request.</summary>
    public static VfioResult Read(ServerConnection server, int region, ulong offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var part = destination[..Math.Min(destination.Length, MostOf(server))];
            var asked = new RegionAccessPayload(offset, (uint)region, (uint)part.Length);
            var told = default(RegionAccessPayload);
            var echo = MemoryMarshal.AsBytes(new Span<RegionAccessPayload>(ref told));
            var read = server.Call(Command.RegionRead, Bytes(in asked), [], [], echo, part);
            if (!read.IsOk)
                return read.Error;
            if (told != asked || read.Value != RegionAccessPayload.WireSize + part.Length)
                return server.Disbelieve();
            destination = destination[part.Length..];
            offset += (ulong)part.Length;
        }

        return VfioResult.Ok;
    }

    /// <summary>Errors: the server's; EIO for an answer that is not that of the request.</summary>
    public static VfioResult Write(ServerConnection server, int region, ulong offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var part = source[..Math.Min(source.Length, MostOf(server))];
            var asked = new RegionAccessPayload(offset, (uint)region, (uint)part.Length);
            var told = default(RegionAccessPayload);
            var echo = MemoryMarshal.AsBytes(new Span<RegionAccessPayload>(ref told));
            var written = server.Call(Command.RegionWrite, Bytes(in asked), part, [], echo, []);
            if (!written.IsOk)
                return written.Error;
            if (told != asked)
                return server.Disbelieve();
            source = source[part.Length..];
            offset += (ulong)part.Length;
        }

        return VfioResult.Ok;
    }

    private static int MostOf(ServerConnection server) => (int)Math.Min(server.Server.MaxTransfer, ServerConnection.MostData);

    private static ReadOnlySpan<byte> Bytes(ref readonly RegionAccessPayload payload) =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<RegionAccessPayload>(in payload));
}
