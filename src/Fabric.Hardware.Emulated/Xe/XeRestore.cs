using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>
/// Takes packets into a VF that stands, each as it comes, in their order and no other (VD-XE-1). The first error stays. The VF's clock is held.
/// </summary>
internal sealed class XeRestore : IRecordSink
{
    private readonly XeVfMemory memory;
    private readonly RecordReader packets;
    private readonly byte[] small = new byte[XeRegister.GgttEntries * sizeof(ulong)];
    private XePacketType type;
    private int filled;
    private int vram;

    public XeRestore(XeVfMemory memory)
    {
        this.memory = memory;
        packets = new RecordReader(XePacket.HeaderBytes, this);
    }

    /// <summary>Down to the trailer.</summary>
    public bool IsWhole => type == XePacketType.Trailer && packets.Finish().IsOk;

    /// <summary>Errors: EINVAL for what is no packet of this version, in its place and of its size; ENODEV for another device's.</summary>
    public VfioResult Write(ReadOnlySpan<byte> source) => packets.Write(source);

    public VfioResult<ulong> Begin(ReadOnlySpan<byte> header)
    {
        var size = BinaryPrimitives.ReadUInt64LittleEndian(header[XePacket.Size..]);
        var offset = BinaryPrimitives.ReadUInt64LittleEndian(header[XePacket.Offset..]);
        var came = (XePacketType)header[XePacket.Type];
        if (header[XePacket.Version] != XePacket.CurrentVersion)
            return Refused("The packet is of another version.");
        if (header[XePacket.Tile] != 0 || header[XePacket.Gt] != 0 || BinaryPrimitives.ReadUInt32LittleEndian(header[XePacket.Flags..]) != 0)
            return Refused("The packet is of a tile or GT that the device has not, or has flags.");
        if (!Follows(came) || offset != (came == XePacketType.Vram ? (ulong)vram : 0) || !Fits(came, size))
            return Refused("The packet is out of its place, or of another size than it must be.");
        (type, filled) = (came, 0);
        return size;
    }

    public VfioResult Take(ReadOnlySpan<byte> part)
    {
        if (type == XePacketType.Vram)
        {
            part.CopyTo(memory.Vram.AsSpan(vram));
            vram += part.Length;
        }
        else
        {
            part.CopyTo(small.AsSpan(filled));
            filled += part.Length;
        }

        return VfioResult.Ok;
    }

    public VfioResult End()
    {
        var payload = small.AsSpan(0, filled);
        switch (type)
        {
            case XePacketType.Descriptor:
                return CheckDescriptor(payload);
            case XePacketType.Ggtt:
                payload.CopyTo(MemoryMarshal.AsBytes(memory.Ggtt.AsSpan()));
                break;
            case XePacketType.Mmio:
                payload.CopyTo(MemoryMarshal.AsBytes(memory.Scratch.AsSpan()));
                break;
            case XePacketType.Guc:
                memory.RestoreGuc(payload);
                break;
        }

        return VfioResult.Ok;
    }

    private bool Follows(XePacketType came) =>
        came == type + 1 ? type != XePacketType.Vram || vram == memory.Vram.Length : came == XePacketType.Vram && type == XePacketType.Vram;

    private bool Fits(XePacketType came, ulong size) => came switch
    {
        XePacketType.Descriptor => size <= XeDescriptor.MaxBytes,
        XePacketType.Ggtt => size == XeRegister.GgttEntries * sizeof(ulong),
        XePacketType.Mmio => size == XeRegister.ScratchCount * sizeof(uint),
        XePacketType.Guc => size == XeVfMemory.GucBytes,
        XePacketType.Vram => size is > 0 and <= XePacket.VramChunkBytes && size <= (ulong)(memory.Vram.Length - vram),
        XePacketType.Trailer => size == 0,
        _ => false,
    };

    /// <summary>It says which device it is of, whatever else it says.</summary>
    private VfioResult CheckDescriptor(ReadOnlySpan<byte> pairs)
    {
        var known = 0;
        while (pairs.Length >= XeDescriptor.HeadBytes)
        {
            var key = BinaryPrimitives.ReadUInt16LittleEndian(pairs);
            var length = BinaryPrimitives.ReadUInt16LittleEndian(pairs[XeDescriptor.Length..]);
            if (length > pairs.Length - XeDescriptor.HeadBytes)
                break;
            int? wanted = key switch
            {
                XeDescriptor.DeviceId => XeIds.Device,
                XeDescriptor.RevisionId => XeIds.Revision,
                XeDescriptor.VramBytes => memory.Vram.Length,
                _ => null,
            };
            if (wanted is not null && (length != sizeof(int) || BinaryPrimitives.ReadInt32LittleEndian(pairs[XeDescriptor.HeadBytes..]) != wanted))
                return VfioResult.Fail(Errno.ENODEV, "The stream is of another device, revision or size of VRAM.");
            known += wanted is null ? 0 : 1;
            pairs = pairs[(XeDescriptor.HeadBytes + length)..];
        }

        return pairs.IsEmpty && known == 3 ? VfioResult.Ok : Refused("The descriptor is damaged, or does not say which device it is of.");
    }

    private static VfioError Refused(string sentence) => new(Errno.EINVAL, sentence);
}
