using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.Benchmarks.VfioUser;

/// <summary>One request after the other, and nothing is allocated: what is measured is the server.</summary>
internal sealed class Client : IDisposable
{
    private const string Capabilities =
        """{"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}}}""";

    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly byte[] message = new byte[MessageHeader.Bytes + RegionAccessPayload.WireSize + (1 << 20)];
    private ushort lastId;

    public Client(string path)
    {
        socket.Connect(new UnixDomainSocketEndPoint(path));
        Ask(Command.Version, new VersionPayload(0, 0), Encoding.ASCII.GetBytes(Capabilities + "\0"));
    }

    /// <summary>The first BAR that is read and written.</summary>
    public uint FindBar()
    {
        for (var index = 0u; index < 6; index++)
        {
            var info = Ask(Command.DeviceGetRegionInfo, new VfioRegionInfo((uint)VfioRegionInfo.WireSize, 0, index, 0, 0, 0));
            VfioRegionInfo.TryRead(info, out var found);
            if (found.Size > 0 && (found.Flags & (RegionFlags.Read | RegionFlags.Write)) == (RegionFlags.Read | RegionFlags.Write))
                return index;
        }

        throw new InvalidOperationException("The device has no BAR that is read and written.");
    }

    public uint Read(uint region, ulong offset)
    {
        var read = Ask(Command.RegionRead, new RegionAccessPayload(offset, region, sizeof(uint)));
        return MemoryMarshal.Read<uint>(read[RegionAccessPayload.WireSize..]);
    }

    public void Write(uint region, ulong offset, uint value) => Ask(
        Command.RegionWrite, new RegionAccessPayload(offset, region, sizeof(uint)), MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(in value)));

    public void SetState(MigrationState state) => Ask(
        Command.DeviceFeature,
        new VfioDeviceFeature(
            (uint)(VfioDeviceFeature.WireSize + DeviceStatePayload.WireSize), (uint)DeviceFeature.MigDeviceState | (uint)FeatureOps.Set),
        Encoded(new DeviceStatePayload(state, -1)));

    /// <summary>Bytes read; fewer than there is room for are the end. A server may fill its answer up beyond them.</summary>
    public int ReadData(Span<byte> room)
    {
        var read = Ask(Command.MigDataRead, new MigDataPayload((uint)(MigDataPayload.WireSize + room.Length), (uint)room.Length));
        MigDataPayload.TryRead(read, out var told);
        read.Slice(MigDataPayload.WireSize, (int)told.Length).CopyTo(room);
        return (int)told.Length;
    }

    public void WriteData(ReadOnlySpan<byte> data) =>
        Ask(Command.MigDataWrite, new MigDataPayload((uint)(MigDataPayload.WireSize + data.Length), (uint)data.Length), data);

    public void Dispose() => socket.Dispose();

    private static byte[] Encoded<T>(T payload) where T : unmanaged, IUapiStruct<T>
    {
        var bytes = new byte[Unsafe.SizeOf<T>()];
        payload.Encode(bytes);
        return bytes;
    }

    /// <summary>The answer's payload, until the next request.</summary>
    private ReadOnlySpan<byte> Ask<T>(Command command, T payload, ReadOnlySpan<byte> data = default) where T : unmanaged, IUapiStruct<T>
    {
        var fixedBytes = Unsafe.SizeOf<T>();
        MessageHeader.Request(++lastId, command, fixedBytes + data.Length).Encode(message);
        payload.Encode(message.AsSpan(MessageHeader.Bytes));
        data.CopyTo(message.AsSpan(MessageHeader.Bytes + fixedBytes));
        var length = MessageHeader.Bytes + fixedBytes + data.Length;
        for (var sent = 0; sent < length;)
            sent += socket.Send(message.AsSpan(sent, length - sent));

        var got = 0;
        while (got < MessageHeader.Bytes)
            got += Received(message.AsSpan(got));
        MessageHeader.TryRead(message, out var head);
        while (got < (int)head.Size)
            got += Received(message.AsSpan(got, (int)head.Size - got));
        if (head.Command != command || (head.Flags & MessageFlags.Error) != 0)
        {
            throw new InvalidOperationException(
                $"{command} was refused with {(Fabric.Vfio.Errno)head.Error}, so that something else would be measured.");
        }

        return message.AsSpan(MessageHeader.Bytes, (int)head.Size - MessageHeader.Bytes);
    }

    private int Received(Span<byte> room) =>
        socket.Receive(room) is > 0 and var received ? received : throw new InvalidOperationException("The server closed the connection.");
}
