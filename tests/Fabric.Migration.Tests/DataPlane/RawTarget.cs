using System.Net;
using System.Net.Sockets;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>A writer whose target is played by the test, byte by byte.</summary>
internal sealed class RawTarget : IAsyncDisposable
{
    private RawTarget(MigrationWriter writer, RawPeer peer, byte[] hello)
    {
        Writer = writer;
        Peer = peer;
        Hello = hello;
    }

    public MigrationWriter Writer { get; }

    public RawPeer Peer { get; }

    public byte[] Hello { get; }

    public static async Task<RawTarget> OpenAsync(DataPlaneToken? token = null, DataPlaneOptions? options = null)
    {
        var ct = TestContext.Current.CancellationToken;
        using var listening = Listen();
        var connecting = MigrationWriter.ConnectAsync(listening.LocalEndPoint!, "m-1", 0, token ?? DataPlaneToken.New(), Link.Resuming(options, resumes: false), ct);
        var peer = new RawPeer(await listening.AcceptAsync(ct));
        var hello = await peer.ReadExactlyAsync(59);
        await peer.SendAsync(RawPeer.Frame(RawPeer.Accepted, 0, []));
        return new RawTarget(await connecting, peer, hello);
    }

    public static Socket Listen()
    {
        var listening = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listening.Listen();
        return listening;
    }

    public async ValueTask DisposeAsync()
    {
        await Writer.DisposeAsync();
        Peer.Dispose();
    }
}
