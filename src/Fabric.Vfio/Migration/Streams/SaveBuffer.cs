using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Migration.Streams;

/// <summary>
/// A saving stream that lies in memory: a driver appends to it, from arcs, and its holder reads it in order. For devices whose state is small:
/// nothing is asked of the device while the stream is read.
/// </summary>
/// <param name="capacity">Most bytes that the whole stream can have.</param>
public sealed class SaveBuffer(int capacity) : IMigrationData
{
    private readonly byte[] bytes = new byte[capacity];
    private int filled;
    private int startUp;
    private int read;

    /// <summary>All that was appended, read or not.</summary>
    public ReadOnlySpan<byte> Content => bytes.AsSpan(0, filled);

    /// <summary>Errors: ENOSPC, with nothing appended, past the capacity.</summary>
    public VfioResult Append(ReadOnlySpan<byte> source)
    {
        var room = Reserve(source.Length);
        if (room.IsEmpty && !source.IsEmpty)
            return VfioResult.Fail(Errno.ENOSPC, "The device's state is larger than it said; this is a fault of the driver.");
        source.CopyTo(room);
        return VfioResult.Ok;
    }

    /// <summary>Room at the end for so many bytes, to be filled at once; empty past the capacity.</summary>
    public Span<byte> Reserve(int count)
    {
        if (count > bytes.Length - filled)
            return default;
        filled += count;
        return bytes.AsSpan(filled - count, count);
    }

    /// <summary>What has been appended so far is the start-up set: what PRECOPY_INFO counts as initial bytes (MG-25).</summary>
    public void EndStartUpSet() => startUp = filled;

    public VfioResult<int> Read(Span<byte> destination)
    {
        var part = Math.Min(destination.Length, filled - read);
        bytes.AsSpan(read, part).CopyTo(destination);
        read += part;
        return part;
    }

    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        var initial = Math.Max(0, startUp - read);
        return new PrecopyInfo((ulong)initial, (ulong)(filled - read - initial));
    }
}
