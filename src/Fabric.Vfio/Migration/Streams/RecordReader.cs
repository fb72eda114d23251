namespace Fabric.Vfio.Migration.Streams;

/// <summary>What a stream of records is made of, for its <see cref="RecordReader"/>.</summary>
public interface IRecordSink
{
    /// <summary>A header is complete. Returns the bytes of payload that follow it. Errors: of a header that is not the device's.</summary>
    VfioResult<ulong> Begin(ReadOnlySpan<byte> header);

    /// <summary>A part of the payload, in order, as it comes: never empty.</summary>
    VfioResult Take(ReadOnlySpan<byte> part);

    /// <summary>The record is complete, one without payload too.</summary>
    VfioResult End();
}

/// <summary>
/// A loading stream of records, each a header of fixed length and a payload: taken in any chunks, and given on as it comes, so that memory does
/// not grow with it (the parsers of mlx5, virtio and xe). The first error stays (MG-24).
/// </summary>
/// <param name="headerBytes">At most 64.</param>
public sealed class RecordReader(int headerBytes, IRecordSink sink) : IMigrationData
{
    private readonly byte[] header = new byte[headerBytes];
    private int filled;
    private ulong left;

    /// <summary>The error that stands; success where there is none.</summary>
    public VfioResult Standing { get; private set; }

    /// <summary>The stream may end here: no record is incomplete.</summary>
    public bool IsBetweenRecords => filled == 0;

    /// <summary>Errors: those of the sink, and the first of them from then on.</summary>
    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        while (Standing.IsOk && !source.IsEmpty)
            source = source[(filled < header.Length ? TakeHeader(source) : TakePayload(source))..];
        return Standing;
    }

    /// <summary>The stream has ended. Errors: the one that stands; EINVAL within a record.</summary>
    public VfioResult Finish()
    {
        if (!Standing.IsOk)
            return Standing;
        return IsBetweenRecords
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "The migration stream ends within a record; write the rest of it.");
    }

    private int TakeHeader(ReadOnlySpan<byte> source)
    {
        var part = Math.Min(source.Length, header.Length - filled);
        source[..part].CopyTo(header.AsSpan(filled));
        filled += part;
        if (filled < header.Length)
            return part;
        var payload = sink.Begin(header);
        if (!payload.IsOk)
            Standing = payload.Error;
        else if ((left = payload.Value) == 0)
            EndRecord();
        return part;
    }

    private int TakePayload(ReadOnlySpan<byte> source)
    {
        var part = (int)Math.Min((ulong)source.Length, left);
        Standing = sink.Take(source[..part]);
        left -= (ulong)part;
        if (Standing.IsOk && left == 0)
            EndRecord();
        return part;
    }

    private void EndRecord()
    {
        filled = 0;
        Standing = sink.End();
    }
}
