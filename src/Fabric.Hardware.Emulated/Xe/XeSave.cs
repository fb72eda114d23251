using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Xe;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>The packets of a VF that stands, made one by one as they are read (VD-XE-1). The VF's clock is held.</summary>
internal sealed class XeSave(XeVfMemory memory)
{
    private XePacketType next = XePacketType.Descriptor;
    private int vram;
    private byte[] packet = [];
    private int read;

    /// <summary>Bytes of all packets.</summary>
    public static long BytesOf(XeVfMemory memory)
    {
        var chunks = (memory.Vram.Length + XePacket.VramChunkBytes - 1) / XePacket.VramChunkBytes;
        var tables = (memory.Ggtt.Length * sizeof(ulong)) + (memory.Scratch.Length * sizeof(uint));
        return ((chunks + 5) * XePacket.HeaderBytes) + DescriptorOf(memory).Length + tables + XeVfMemory.GucBytes + memory.Vram.Length;
    }

    /// <summary>As much as there is room for; 0 at the end.</summary>
    public int Read(Span<byte> destination)
    {
        var done = 0;
        while (done < destination.Length && (read < packet.Length || MakeNext()))
        {
            var part = Math.Min(destination.Length - done, packet.Length - read);
            packet.AsSpan(read, part).CopyTo(destination[done..]);
            read += part;
            done += part;
        }

        return done;
    }

    private bool MakeNext()
    {
        if (next > XePacketType.Trailer)
            return false;
        (packet, read) = (Next(), 0);
        var isMore = next == XePacketType.Vram && vram < memory.Vram.Length;
        if (!isMore)
            next++;
        return true;
    }

    private byte[] Next()
    {
        switch (next)
        {
            case XePacketType.Descriptor:
                return Packet(DescriptorOf(memory));
            case XePacketType.Ggtt:
                return Packet(MemoryMarshal.AsBytes(memory.Ggtt.AsSpan()));
            case XePacketType.Mmio:
                return Packet(MemoryMarshal.AsBytes(memory.Scratch.AsSpan()));
            case XePacketType.Guc:
                return Packet(memory.Guc());
            case XePacketType.Vram:
                var at = vram;
                vram += Math.Min(XePacket.VramChunkBytes, memory.Vram.Length - at);
                return Packet(memory.Vram.AsSpan(at..vram), at);
            default:
                return Packet([]);
        }
    }

    private byte[] Packet(ReadOnlySpan<byte> payload, int offset = 0)
    {
        var made = new byte[XePacket.HeaderBytes + payload.Length];
        made[XePacket.Version] = XePacket.CurrentVersion;
        made[XePacket.Type] = (byte)next;
        BinaryPrimitives.WriteInt64LittleEndian(made.AsSpan(XePacket.Offset), offset);
        BinaryPrimitives.WriteInt64LittleEndian(made.AsSpan(XePacket.Size), payload.Length);
        payload.CopyTo(made.AsSpan(XePacket.HeaderBytes));
        return made;
    }

    private static byte[] DescriptorOf(XeVfMemory memory) =>
    [
        .. Pair(XeDescriptor.DeviceId, XeIds.Device),
        .. Pair(XeDescriptor.RevisionId, XeIds.Revision),
        .. Pair(XeDescriptor.VramBytes, memory.Vram.Length),
    ];

    private static byte[] Pair(ushort key, int value)
    {
        var pair = new byte[XeDescriptor.HeadBytes + sizeof(int)];
        BinaryPrimitives.WriteUInt16LittleEndian(pair, key);
        BinaryPrimitives.WriteUInt16LittleEndian(pair.AsSpan(XeDescriptor.Length), sizeof(int));
        BinaryPrimitives.WriteInt32LittleEndian(pair.AsSpan(XeDescriptor.HeadBytes), value);
        return pair;
    }
}
