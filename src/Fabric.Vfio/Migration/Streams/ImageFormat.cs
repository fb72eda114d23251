using System.Buffers.Binary;
using System.Numerics;

namespace Fabric.Vfio.Migration.Streams;

/// <summary>Reads or takes one part of a device's state.</summary>
public delegate VfioResult PartReader(int part, Span<byte> destination);

/// <inheritdoc cref="PartReader"/>
public delegate VfioResult PartWriter(int part, ReadOnlySpan<byte> source);

/// <summary>
/// The stream of a device whose state is a few parts of fixed length, little-endian. A header of 24 bytes: magic u64, major version u32, minor
/// version u32, parts u32, flags u32 (0); there is one such header, and a target compares it whole before anything stops (MG-52). Then each part,
/// and a CRC-32C u32 that begins with the part's number, so that none can stand for another.
/// </summary>
/// <param name="magic">Which device's it is.</param>
/// <param name="partBytes">Bytes of a part, without its checksum.</param>
public sealed class ImageFormat(ulong magic, uint major, uint minor, int parts, int partBytes)
{
    public const int HeaderBytes = 24;

    /// <summary>Bytes of a whole stream.</summary>
    public int Bytes => HeaderBytes + (parts * (partBytes + sizeof(uint)));

    /// <summary>A stream with its header, which is its start-up set.</summary>
    public SaveBuffer StartSaving()
    {
        var stream = new SaveBuffer(Bytes);
        WriteHeader(stream.Reserve(HeaderBytes));
        stream.EndStartUpSet();
        return stream;
    }

    /// <summary>The device has stopped: its parts are taken now, so that nothing is asked of it while the stream is read. Errors: the reader's.</summary>
    public VfioResult Save(SaveBuffer stream, PartReader read)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(read);
        for (var part = 0; part < parts; part++)
        {
            var record = stream.Reserve(partBytes + sizeof(uint));
            var done = read(part, record[..partBytes]);
            if (!done.IsOk)
                return done;
            BinaryPrimitives.WriteUInt32LittleEndian(record[partBytes..], Checksum(part, record[..partBytes]));
        }

        return VfioResult.Ok;
    }

    /// <summary>A stream to be written: EFAULT for a foreign header, ENOMEM for more than a whole stream.</summary>
    public LoadBuffer StartLoading() => new(Bytes, CheckHeader);

    /// <summary>
    /// Gives the parts of a whole stream to the device. Errors: what a write was refused with; EINVAL for a stream that is short, which may be gone
    /// on with, or damaged; the writer's.
    /// </summary>
    public VfioResult Load(LoadBuffer stream, PartWriter write)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(write);
        if (!stream.Standing.IsOk)
            return stream.Standing;
        if (stream.Content.Length < Bytes)
            return VfioResult.Fail(Errno.EINVAL, "The migration stream is shorter than the device's state; write the rest of it.");
        for (var part = 0; part < parts; part++)
        {
            var record = stream.Content.Slice(HeaderBytes + (part * (partBytes + sizeof(uint))), partBytes + sizeof(uint));
            if (BinaryPrimitives.ReadUInt32LittleEndian(record[partBytes..]) != Checksum(part, record[..partBytes]))
                return VfioResult.Fail(Errno.EINVAL, "The migration stream is damaged; reset the device, and send it again from the start.");
            var done = write(part, record[..partBytes]);
            if (!done.IsOk)
                return done;
        }

        return VfioResult.Ok;
    }

    /// <summary>The checksum of a part.</summary>
    public static uint Checksum(int part, ReadOnlySpan<byte> content)
    {
        var checksum = BitOperations.Crc32C(uint.MaxValue, (uint)part);
        for (; content.Length >= sizeof(ulong); content = content[sizeof(ulong)..])
            checksum = BitOperations.Crc32C(checksum, BinaryPrimitives.ReadUInt64LittleEndian(content));
        foreach (var left in content)
            checksum = BitOperations.Crc32C(checksum, left);
        return checksum;
    }

    private VfioResult CheckHeader(ReadOnlySpan<byte> content, int before)
    {
        Span<byte> expected = stackalloc byte[HeaderBytes];
        WriteHeader(expected);
        return before >= HeaderBytes || content.Length < HeaderBytes || content.StartsWith(expected)
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EFAULT, "The migration stream is not of such a device, of this version and shape; choose a target like its source.");
    }

    private void WriteHeader(Span<byte> header)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(header, magic);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], major);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], minor);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], parts);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], 0);
    }
}
