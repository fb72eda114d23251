using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>
/// A server that does what a test tells it, and answers everything else as a small PCI device: a BAR of 4 KiB, MSI-X, a reset. A test's answer comes
/// first; where it gives none, the device's does.
/// </summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("vu");
    private readonly Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource ending = new();
    private readonly Task serving;
    private int connections;

    /// <param name="script">Whether it has answered; null answers nothing and closes the connection.</param>
    public ScriptedServer(Func<Talk, Asked, bool?> script)
    {
        Path = System.IO.Path.Combine(folder.FullName, "s");
        listener.Bind(new UnixDomainSocketEndPoint(Path));
        listener.Listen(16);
        serving = ServeAsync(script);
    }

    public string Path { get; }

    public int Connections => Volatile.Read(ref connections);

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync();
        listener.Dispose();
        await serving;
        folder.Delete(recursive: true);
        ending.Dispose();
    }

    /// <summary>A request as it came.</summary>
    internal sealed record Asked(MessageHeader Header, byte[] Payload);

    /// <summary>One connection, for the script to send whatever it likes.</summary>
    internal sealed class Talk(Socket socket)
    {
        public void Send(byte[] bytes, params int[] fds)
        {
            var sent = fds.Length > 0 ? DescriptorMessages.Send(socket.SafeHandle, bytes, fds) : 0;
            while (sent < bytes.Length)
                sent += socket.Send(bytes.AsSpan(sent));
        }

        public void Answer(Asked request, byte[] payload, params int[] fds) =>
            Send([.. TestClient.HeadOf(request.Header.Answer(payload.Length)), .. payload], fds);

        public void Refuse(Asked request, Errno errno) => Send(TestClient.HeadOf(request.Header.Refusal(errno)));
    }

    private async Task ServeAsync(Func<Talk, Asked, bool?> script)
    {
        var talks = new List<Task>();
        try
        {
            while (true)
            {
                var socket = await listener.AcceptAsync(ending.Token);
                Interlocked.Increment(ref connections);
                talks.Add(Task.Run(() => TalkAsync(socket, script)));
            }
        }
        catch (Exception over) when (over is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(talks);
        }
    }

    private async Task TalkAsync(Socket socket, Func<Talk, Asked, bool?> script)
    {
        using var _ = socket;
        var talk = new Talk(socket);
        try
        {
            while (await ReadAsync(socket) is { } asked)
            {
                var answered = script(talk, asked);
                if (answered is null)
                    return;
                if (answered == false)
                    Answer(talk, asked);
            }
        }
        catch (Exception over) when (over is OperationCanceledException or SocketException)
        {
            // The client has hung up, or the test is over.
        }
    }

    private async Task<Asked?> ReadAsync(Socket socket)
    {
        var head = new byte[MessageHeader.Bytes];
        if (!await FillAsync(socket, head) || !MessageHeader.TryRead(head, out var header))
            return null;
        var payload = new byte[header.Size - MessageHeader.Bytes];
        return await FillAsync(socket, payload) ? new Asked(header, payload) : null;
    }

    private async Task<bool> FillAsync(Socket socket, Memory<byte> room)
    {
        while (!room.IsEmpty)
        {
            var received = await socket.ReceiveAsync(room, SocketFlags.None, ending.Token);
            if (received == 0)
                return false;
            room = room[received..];
        }

        return true;
    }

    // ---- The device ------------------------------------------------------------------------------------------------------------------

    private static void Answer(Talk talk, Asked asked)
    {
        switch (asked.Header.Command)
        {
            case Command.Version:
                talk.Answer(asked, TestClient.VersionPayloadOf("""{"capabilities":{"max_msg_fds":8}}"""));
                break;
            case Command.DeviceGetInfo:
                talk.Answer(asked, TestClient.Bytes(new DeviceInfoPayload(16, DeviceFlags.Pci | DeviceFlags.Reset, 9, 5)));
                break;
            case Command.DeviceGetRegionInfo:
                var region = Read<VfioRegionInfo>(asked);
                const RegionFlags both = RegionFlags.Read | RegionFlags.Write;
                talk.Answer(asked, TestClient.Bytes(region with { Argsz = 32, Flags = both, Size = SizeOf(region.Index) }));
                break;
            case Command.DeviceGetIrqInfo:
                var irq = Read<VfioIrqInfo>(asked);
                talk.Answer(asked, TestClient.Bytes(irq with { Flags = IrqFlags.Eventfd, Count = irq.Index == (uint)IrqIndex.Msix ? 4u : 0 }));
                break;
            case Command.RegionRead:
                var read = Read<RegionAccessPayload>(asked);
                talk.Answer(asked, TestClient.Bytes(read, Config(read)));
                break;
            case Command.RegionWrite:
                talk.Answer(asked, asked.Payload[..16]);
                break;
            case Command.DmaUnmap:
                talk.Answer(asked, asked.Payload);
                break;
            case Command.DeviceFeature:
                talk.Refuse(asked, Errno.ENOTTY);
                break;
            default:
                talk.Answer(asked, []);
                break;
        }
    }

    private static ulong SizeOf(uint region) => region switch { 0 or RegionIndex.Config => 4096, _ => 0 };

    private static byte[] Config(RegionAccessPayload read)
    {
        var config = new byte[(int)read.Offset + (int)read.Count];
        byte[] header = [0x36, 0x1b, 0x01, 0xfa];
        if (read.Region == RegionIndex.Config && config.Length >= ConfigOffset.HeaderSize)
            header.CopyTo(config, 0);
        else if (read.Region == RegionIndex.Config)
            header.AsSpan(0, Math.Min(4, config.Length)).CopyTo(config);
        return config[(int)read.Offset..];
    }

    internal static T Read<T>(Asked asked) where T : unmanaged, IUapiStruct<T>
    {
        Assert.True(asked.Payload.Length >= Unsafe.SizeOf<T>());
        Assert.True(System.Runtime.InteropServices.MemoryMarshal.TryRead(asked.Payload, out T read));
        return read;
    }
}
