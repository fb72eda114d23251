using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests;

/// <summary>A message as a client received it.</summary>
internal sealed record Received(MessageHeader Header, byte[] Payload)
{
    public Errno Errno => (Header.Flags & MessageFlags.Error) != 0 ? (Errno)Header.Error : Errno.None;

    public T As<T>() where T : unmanaged, IUapiStruct<T>
    {
        Assert.Equal(Errno.None, Errno);
        Assert.True(MemoryMarshal.TryRead(Payload, out T read), $"{Payload.Length} bytes are too few for {typeof(T).Name}");
        return read;
    }
}

/// <summary>The other end of the protocol, as close to the bytes as a test wants it.</summary>
internal sealed class TestClient : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private ushort lastId;

    public Socket Socket => socket;

    public static async Task<TestClient> ConnectAsync(string path)
    {
        var client = new TestClient();
        await client.socket.ConnectAsync(new UnixDomainSocketEndPoint(path), TestContext.Current.CancellationToken);
        return client;
    }

    public static byte[] VersionPayloadOf(string json = "", ushort major = 0) =>
        [(byte)major, (byte)(major >> 8), 0, 0, .. json.Length == 0 ? [] : Encoding.UTF8.GetBytes(json + "\0")];

    /// <summary>What QEMU 11.1.3 sends.</summary>
    public const string QemuJson =
        """{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576,""" +
        """ "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}""";

    public async Task<Received> HandshakeAsync(string json = QemuJson)
    {
        var reply = await RequestAsync(Command.Version, VersionPayloadOf(json));
        Assert.Equal(Errno.None, reply.Errno);
        return reply;
    }

    public Task<Received> RequestAsync<T>(Command command, T payload, byte[]? data = null, params int[] fds)
        where T : unmanaged, IUapiStruct<T> => RequestAsync(command, Bytes(payload, data), fds);

    public async Task<Received> RequestAsync(Command command, byte[]? payload = null, params int[] fds)
    {
        var id = Send(command, payload ?? [], fds);
        var reply = await ReceiveAsync();
        Assert.Equal((id, command, true), (reply.Header.Id, reply.Header.Command, reply.Header.IsReply));
        return reply;
    }

    /// <summary>A request of which nobody waits for the answer here.</summary>
    public ushort Send(Command command, byte[] payload, int[]? fds = null, MessageFlags flags = MessageFlags.Command)
    {
        var header = MessageHeader.Request(++lastId, command, payload.Length, flags);
        Send([.. HeadOf(header), .. payload], fds ?? []);
        return header.Id;
    }

    public static byte[] HeadOf(MessageHeader header)
    {
        var bytes = new byte[MessageHeader.Bytes];
        Assert.True(header.Encode(bytes).IsOk);
        return bytes;
    }

    public static byte[] Bytes<T>(T payload, byte[]? data = null) where T : unmanaged, IUapiStruct<T>
    {
        var bytes = new byte[Unsafe.SizeOf<T>() + (data?.Length ?? 0)];
        Assert.True(payload.Encode(bytes).IsOk);
        data?.CopyTo(bytes, bytes.Length - data.Length);
        return bytes;
    }

    /// <summary>Bytes as they are. What does not fit into the socket is sent when it does.</summary>
    public void Send(byte[] bytes, int[] fds)
    {
        socket.SendTimeout = (int)Patience.TotalMilliseconds;
        var sent = fds.Length > 0 ? DescriptorMessages.Send(socket.SafeHandle, bytes, fds) : 0;
        while (sent < bytes.Length)
            sent += socket.Send(bytes.AsSpan(sent));
    }

    public async Task<Received> ReceiveAsync()
    {
        var head = new byte[MessageHeader.Bytes];
        Assert.True(await FillAsync(head), "The server closed the connection.");
        Assert.True(MessageHeader.TryRead(head, out var header));
        var payload = new byte[header.Size - MessageHeader.Bytes];
        Assert.True(await FillAsync(payload), "The server closed the connection within a message.");
        return new Received(header, payload);
    }

    /// <summary>The server closes the connection; nothing more comes from it.</summary>
    public async Task ExpectEndAsync()
    {
        try
        {
            Assert.False(await FillAsync(new byte[1]), "The server sent something instead of closing the connection.");
        }
        catch (SocketException)
        {
            // A reset is an end too: the server closed with bytes of ours unread.
        }
    }

    /// <summary>The server is there, and serves this client still.</summary>
    public async Task ExpectServedAsync() =>
        Assert.Equal(Errno.None, (await RequestAsync(Command.DeviceGetInfo, new DeviceInfoPayload(16, 0, 0, 0))).Errno);

    public async Task<byte[]> ReadAsync(int region, ulong offset, int count)
    {
        var reply = await RequestAsync(Command.RegionRead, new RegionAccessPayload(offset, (uint)region, (uint)count));
        Assert.Equal(new RegionAccessPayload(offset, (uint)region, (uint)count), reply.As<RegionAccessPayload>());
        return reply.Payload[16..];
    }

    public async Task WriteAsync(int region, ulong offset, params byte[] data)
    {
        var asked = new RegionAccessPayload(offset, (uint)region, (uint)data.Length);
        Assert.Equal(asked, (await RequestAsync(Command.RegionWrite, asked, data)).As<RegionAccessPayload>());
    }

    public void Dispose() => socket.Dispose();

    private async Task<bool> FillAsync(byte[] room)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(Patience);
        for (var filled = 0; filled < room.Length;)
        {
            var received = await socket.ReceiveAsync(room.AsMemory(filled), SocketFlags.None, deadline.Token);
            if (received == 0)
                return false;
            filled += received;
        }

        return true;
    }
}
