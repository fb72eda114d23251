using System.Buffers.Binary;
using System.IO.Hashing;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>A peer written from the wire format alone, so that the format is checked by a second hand and faults can be composed.</summary>
internal sealed class RawPeer : IDisposable
{
    public const byte DeviceState = 1;
    public const byte Memory = 2;
    public const byte RoundEnd = 4;
    public const byte End = 5;
    public const byte Accepted = 0x81;
    public const byte Refused = 0x82;
    public const byte RoundAcknowledged = 0x83;
    public const byte Finished = 0x84;
    public const byte Consumed = 0x86;

    private readonly Socket _socket;

    public RawPeer(Socket socket) => _socket = socket;

    public static async Task<RawPeer> ConnectAsync(IPEndPoint endPoint)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(endPoint, TestContext.Current.CancellationToken);
        return new RawPeer(socket);
    }

    public static byte[] Hello(
        string id, DataPlaneToken token, string magic = "FABRICDP", ushort version = 2, ushort? idLength = null, uint stream = 0,
        uint connection = 0, uint replies = 0)
    {
        var hello = new List<byte>();
        hello.AddRange(Encoding.ASCII.GetBytes(magic));
        hello.AddRange(BitConverter.GetBytes(version));
        hello.AddRange(BitConverter.GetBytes(idLength ?? (ushort)Encoding.UTF8.GetByteCount(id)));
        hello.AddRange(BitConverter.GetBytes(stream));
        hello.AddRange(BitConverter.GetBytes(connection));
        hello.AddRange(BitConverter.GetBytes(replies));
        hello.AddRange(token.ToBytes());
        hello.AddRange(Encoding.UTF8.GetBytes(id));
        return [.. hello];
    }

    public static byte[] Frame(byte type, ulong value, byte[] payload, uint? announcedLength = null, byte reserved = 0)
    {
        var frame = new byte[20 + payload.Length];
        frame[0] = type;
        frame[1] = reserved;
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(4), announcedLength ?? (uint)payload.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(frame.AsSpan(8), value);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(16), (uint)XxHash3.HashToUInt64(Block(type, value, payload)));
        payload.CopyTo(frame, 20);
        return frame;
    }

    /// <summary>The 32 bytes a frame adds to the stream's hash.</summary>
    public static byte[] Block(byte type, ulong value, byte[] payload)
    {
        var block = new byte[32];
        block[0] = type;
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(4), (uint)payload.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(8), value);
        BinaryPrimitives.WriteUInt128LittleEndian(block.AsSpan(16), XxHash128.HashToUInt128(payload));
        return block;
    }

    public static byte[] EndFrame(ulong bytes, UInt128 hash)
    {
        var payload = new byte[16];
        BinaryPrimitives.WriteUInt128LittleEndian(payload, hash);
        return Frame(End, bytes, payload);
    }

    public async Task SendAsync(byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += await _socket.SendAsync(bytes.AsMemory(sent), TestContext.Current.CancellationToken);
    }

    public async Task<(byte Type, ulong Value, byte[] Payload)> ReadFrameAsync()
    {
        var header = await ReadExactlyAsync(20);
        var payload = await ReadExactlyAsync((int)BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(4)));
        return (header[0], BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(8)), payload);
    }

    public async Task<string> ReadRefusalAsync()
    {
        var (type, _, payload) = await ReadFrameAsync();
        Assert.Equal(Refused, type);
        return Encoding.UTF8.GetString(payload);
    }

    /// <summary>Whether the other side has closed, cleanly or not, without saying more.</summary>
    public async Task<bool> ReadsEndAsync()
    {
        try
        {
            return await _socket.ReceiveAsync(new byte[1], TestContext.Current.CancellationToken) == 0;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return true;
        }
    }

    public async Task<byte[]> ReadExactlyAsync(int count)
    {
        var bytes = new byte[count];
        for (var read = 0; read < count;)
        {
            var more = await _socket.ReceiveAsync(bytes.AsMemory(read), TestContext.Current.CancellationToken);
            Assert.NotEqual(0, more);
            read += more;
        }

        return bytes;
    }

    /// <summary>Reads everything there is until the other side is gone.</summary>
    public async Task DrainAsync()
    {
        var bytes = new byte[64 * 1024];
        try
        {
            while (await _socket.ReceiveAsync(bytes, TestContext.Current.CancellationToken) > 0)
            {
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // Gone, too.
        }
    }

    /// <summary>Closes as the kernel does for a process that was killed with data unread: by a reset.</summary>
    public void Reset()
    {
        _socket.LingerState = new LingerOption(true, 0);
        _socket.Dispose();
    }

    public void Dispose() => _socket.Dispose();
}
