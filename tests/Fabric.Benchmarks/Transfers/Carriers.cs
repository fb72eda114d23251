using System.Net;
using System.Net.Sockets;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Benchmarks.Transfers;

/// <summary>A way to carry state from one memory to another over loopback; all cut it into the same pieces.</summary>
internal abstract class Carrier(string name)
{
    public const int PieceBytes = 256 * 1024;

    public string Name => name;

    /// <summary>Carries <paramref name="bytes"/>, a part of them on each of the streams; complete when the target has all.</summary>
    public abstract Task CarryAsync(StateMemory source, StateMemory target, long bytes, int streams);

    protected static Socket Listen()
    {
        var listening = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listening.Listen();
        return listening;
    }
}

/// <summary>A plain copy over a socket, or over TLS on one: no frames, no checks, nothing kept.</summary>
/// <param name="name">How it is shown.</param>
/// <param name="certificates">With them in TLS.</param>
/// <param name="inPlace">
/// Sends from the source's memory and receives into the target's. That is no migration, whose devices are read and written through calls,
/// but shows what the kernel costs alone.
/// </param>
internal sealed class PlainCarrier(string name, Certificates? certificates, bool inPlace) : Carrier(name)
{
    public override async Task CarryAsync(StateMemory source, StateMemory target, long bytes, int streams)
    {
        using var listening = Listen();
        var ends = new List<Task>();
        for (var stream = 0; stream < streams; stream++)
        {
            var connecting = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await connecting.ConnectAsync(listening.LocalEndPoint!);
            var accepted = await listening.AcceptAsync();
            var (first, part) = (stream * (bytes / streams), bytes / streams);
            var receiving = Task.Run(() => ReceiveAsync(accepted, target, first, part));
            ends.Add(receiving);
            ends.Add(Task.Run(() => SendAsync(connecting, source, first, part, receiving)));
        }

        await Task.WhenAll(ends);
    }

    private async Task SendAsync(Socket socket, StateMemory source, long first, long bytes, Task received)
    {
        await using var stream = certificates is null
            ? new NetworkStream(socket, ownsSocket: true)
            : await certificates.ConnectAsync(new NetworkStream(socket, ownsSocket: true));
        var buffer = new byte[PieceBytes];
        for (var at = first; at < first + bytes; at += PieceBytes)
        {
            if (!inPlace)
                source.Read(at, buffer);
            await stream.WriteAsync(inPlace ? source.Lend(at, PieceBytes) : buffer);
        }

        // Closing sooner would reset the connection where TLS has sent something that nobody read.
        await received;
    }

    private async Task ReceiveAsync(Socket socket, StateMemory target, long first, long bytes)
    {
        await using var stream = certificates is null
            ? new NetworkStream(socket, ownsSocket: true)
            : await certificates.AcceptAsync(new NetworkStream(socket, ownsSocket: true));
        var buffer = new byte[PieceBytes];
        for (var at = first; at < first + bytes; at += PieceBytes)
        {
            await stream.ReadExactlyAsync(inPlace ? target.Lend(at, PieceBytes) : buffer);
            if (!inPlace)
                target.Write(at, buffer);
        }
    }
}

/// <summary>The same copy by sockets that block, each end of a stream on a thread of its own.</summary>
internal sealed class BlockingCarrier(string name, Certificates? certificates) : Carrier(name)
{
    public override async Task CarryAsync(StateMemory source, StateMemory target, long bytes, int streams)
    {
        using var listening = Listen();
        var ends = new List<Task>();
        for (var stream = 0; stream < streams; stream++)
        {
            var connecting = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            connecting.Connect(listening.LocalEndPoint!);
            var accepted = listening.Accept();
            var (first, part) = (stream * (bytes / streams), bytes / streams);
            var receiving = OnThreadOfItsOwn(() => Receive(accepted, target, first, part));
            ends.Add(receiving);
            ends.Add(OnThreadOfItsOwn(() => Send(connecting, source, first, part, receiving)));
        }

        await Task.WhenAll(ends);
    }

    private static Task OnThreadOfItsOwn(Action end) => Task.Factory.StartNew(end, TaskCreationOptions.LongRunning);

    private void Send(Socket socket, StateMemory source, long first, long bytes, Task received)
    {
        var plain = new NetworkStream(socket, ownsSocket: true);
        using var stream = certificates?.Connect(plain) ?? plain;
        var buffer = new byte[PieceBytes];
        for (var at = first; at < first + bytes; at += PieceBytes)
        {
            source.Read(at, buffer);
            stream.Write(buffer);
        }

        received.Wait();
    }

    private void Receive(Socket socket, StateMemory target, long first, long bytes)
    {
        var plain = new NetworkStream(socket, ownsSocket: true);
        using var stream = certificates?.Accept(plain) ?? plain;
        var buffer = new byte[PieceBytes];
        for (var at = first; at < first + bytes; at += PieceBytes)
        {
            stream.ReadExactly(buffer);
            target.Write(at, buffer);
        }
    }
}

/// <summary>The data plane as a migration uses it.</summary>
internal sealed class DataPlaneCarrier(string name, Certificates? certificates) : Carrier(name)
{
    public override async Task CarryAsync(StateMemory source, StateMemory target, long bytes, int streams)
    {
        var options = new DataPlaneOptions { ServerTls = certificates?.Server, ClientTls = certificates?.Client };
        await using var listener = new DataPlaneListener(NullLogger.Instance, options);
        var token = DataPlaneToken.New();
        await using var inbound = listener.Expect("benchmark", token, streams);
        await Task.WhenAll(Enumerable.Range(0, streams).SelectMany<int, Task>(stream =>
        {
            var (first, part) = (stream * (bytes / streams), bytes / streams);
            return
            [
                StreamThread.RunAsync(() => ReceiveAsync(inbound, stream, target)),
                StreamThread.RunAsync(async () =>
                {
                    await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "benchmark", stream, token, options);
                    return await SendAsync(writer, source, first, part);
                }),
            ];
        }));
    }

    private static async Task<TransferReport> SendAsync(MigrationWriter writer, StateMemory source, long first, long bytes)
    {
        for (var at = first; at < first + bytes; at += PieceBytes)
        {
            source.Read(at, (await writer.GetMemoryAsync(PieceBytes)).Span);
            await writer.CommitMemoryAsync((ulong)at, PieceBytes);
        }

        return await writer.FinishAsync();
    }

    private static async Task<long> ReceiveAsync(InboundMigration inbound, int stream, StateMemory target)
    {
        await using var reader = await inbound.AcceptAsync(stream);
        while (await reader.ReadAsync() is not MigrationFrame.End and var frame)
        {
            if (frame is MigrationFrame.Memory memory)
                target.Write((long)memory.Offset, memory.Data.Span);
        }

        await reader.ReplyFinishedAsync(true, "");
        return reader.BytesReceived;
    }
}
