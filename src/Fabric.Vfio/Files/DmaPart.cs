using Fabric.Vfio.Core;

namespace Fabric.Vfio.Files;

/// <summary>A target that is told of each mapping of it, and of the end of each.</summary>
internal interface ISharedTarget
{
    void Keep();

    void Return();
}

internal static class DmaRanges
{
    /// <summary>Unmaps every mapping that has a byte of a range; how many bytes those were.</summary>
    public static ulong Release(this DmaMap space, ulong first, ulong last)
    {
        var bytes = 0UL;
        foreach (var mapping in space.Between(first, last))
        {
            space.Unmap(mapping.Iova);
            (mapping.Target as ISharedTarget)?.Return();
            bytes += mapping.Length;
        }

        return bytes;
    }
}

/// <summary>A part of what is mapped elsewhere (IOAS_COPY), in bytes.</summary>
internal sealed class DmaPart(IDmaTarget whole, ulong start, ulong length) : IDmaTarget, ISharedTarget
{
    public void Keep() => (whole as ISharedTarget)?.Keep();

    public void Return() => (whole as ISharedTarget)?.Return();

    public ulong Length => length;

    public bool TryRead(ulong offset, Span<byte> destination) => whole.TryRead(start + offset, destination);

    public bool TryWrite(ulong offset, ReadOnlySpan<byte> source) => whole.TryWrite(start + offset, source);
}

/// <summary>
/// Another device's memory behind IOVAs (IO-93). Once the buffer was revoked nothing is reached any more, also when its memory can be used
/// again: it has to be mapped anew.
/// </summary>
internal sealed class DmaBufTarget : IDmaTarget, IDmaBufImporter, ISharedTarget
{
    private readonly DmaBuf buffer;
    private readonly ulong start;
    private volatile bool revoked;
    private DmaBufAttachment? attachment;
    private int mappings = 1;

    private DmaBufTarget(DmaBuf buffer, ulong start, ulong length) => (this.buffer, this.start, Length) = (buffer, start, length);

    public bool SupportsPeerToPeer => true;

    public bool SupportsRevocation => true;

    public ulong Length { get; }

    /// <summary>Errors: EOPNOTSUPP for a buffer of several ranges, EINVAL for a part that it does not have, ENODEV while it is revoked.</summary>
    /// <param name="start">Bytes from the start of the buffer.</param>
    public static VfioResult<DmaBufTarget> Import(DmaBuf buffer, ulong start, ulong length)
    {
        if (buffer.Ranges.Length != 1)
            return new VfioError(Errno.EOPNOTSUPP, "Only a DMA buffer of exactly one range can be mapped; export one for each range.");
        var range = buffer.Ranges[0];
        if (length > range.Length || start > range.Length - length)
            return new VfioError(Errno.EINVAL, "The DMA buffer is shorter than what is to be mapped of it.");
        var target = new DmaBufTarget(buffer, range.Offset + start, length);
        var attached = buffer.Attach(target);
        if (!attached.IsOk)
            return attached.Error;
        target.attachment = attached.Value;
        var mapped = attached.Value.Map();
        if (mapped.IsOk)
            return target;
        attached.Value.Detach();
        return mapped.Error;
    }

    public bool TryRead(ulong offset, Span<byte> destination) => !revoked && buffer.Memory.TryReadAtOnce(start + offset, destination);

    public bool TryWrite(ulong offset, ReadOnlySpan<byte> source) => !revoked && buffer.Memory.TryWriteAtOnce(start + offset, source);

    public void Revoked() => revoked = true;

    public void Keep() => mappings++;

    /// <summary>When nothing is mapped of it any more, the buffer is let go.</summary>
    public void Return()
    {
        if (--mappings == 0)
            attachment?.Detach();
    }
}
