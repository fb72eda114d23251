namespace Fabric.Vfio.Migration.Streams;

/// <summary>
/// A loading stream that is kept in memory until its driver takes it, at RESUMING to STOP. What was refused once stays refused: a stream that was
/// too long, or another device's, does not pass for a whole one at the end (MG-24).
/// </summary>
/// <param name="capacity">Most bytes that a whole stream can have.</param>
/// <param name="check">
/// Sees all that has come whenever more has, and how much of it is new: so that a foreign stream is refused at the write, before its source has
/// stopped (MG-52). Its error is the stream's from then on. Null checks nothing.
/// </param>
public sealed class LoadBuffer(int capacity, LoadBuffer.Check? check = null) : IMigrationData
{
    private readonly byte[] bytes = new byte[capacity];
    private int filled;

    /// <param name="content">From the start.</param>
    /// <param name="before">Bytes of it that had been seen already.</param>
    public delegate VfioResult Check(ReadOnlySpan<byte> content, int before);

    public ReadOnlySpan<byte> Content => bytes.AsSpan(0, filled);

    /// <summary>What a write was refused with; success where none was.</summary>
    public VfioResult Standing { get; private set; }

    /// <summary>Errors: ENOMEM, with nothing taken, past the capacity; those of the check; either stays.</summary>
    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        if (Standing.IsOk)
            Standing = Take(source);
        return Standing;
    }

    private VfioResult Take(ReadOnlySpan<byte> source)
    {
        if (source.Length > bytes.Length - filled)
            return VfioResult.Fail(Errno.ENOMEM, "The migration stream is longer than the device's state; reset the device, and send it once.");
        source.CopyTo(bytes.AsSpan(filled));
        var before = filled;
        filled += source.Length;
        return check is null ? VfioResult.Ok : check(Content, before);
    }
}
