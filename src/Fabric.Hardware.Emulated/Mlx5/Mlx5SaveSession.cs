using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio.Dirty;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>
/// The source's side of a migration, in firmware: images of all or of what changed, each in as many chunks as it takes (VD-MLX-3). The VF's
/// clock is held.
/// </summary>
internal sealed class Mlx5SaveSession(Mlx5Vhca vhca)
{
    /// <summary>Pages that changed since the image before; null where that is not tracked.</summary>
    private DirtyBitmap? changed;

    /// <summary>Pages that the image under way has still to save; null between images.</summary>
    private DirtyBitmap? left;

    private Mlx5Flags kind;
    private uint image;
    private uint chunk;

    /// <summary>A fault: how the next SAVE ends, of an image that is tracked or of a last one.</summary>
    public (Mlx5Status Status, bool Last)? Fails { get; set; }

    public bool IsTracking => changed is not null;

    private uint MemoryPages => (uint)(vhca.Memory.Length / Mlx5Bar.PageBytes);

    public void Mark(int offset, int bytes) => changed?.Mark((ulong)offset, (ulong)bytes);

    public void MarkAll() => changed?.Mark(0, (ulong)vhca.Memory.Length);

    public void Drop() => (changed, left, image, chunk) = (null, null, 0, 0);

    /// <summary>Bytes of an image if it were one chunk: without a change to save there is none.</summary>
    public long SizeOf(Mlx5Flags flags)
    {
        var isIncremental = (flags & Mlx5Flags.Incremental) != 0;
        var pages = isIncremental ? changed?.DirtyPages ?? 0 : MemoryPages;
        return pages == 0 && vhca.Suspended != Mlx5Vhca.BothHalves
            ? 0
            : Mlx5ImageHead.Bytes + (pages * Mlx5ImageHead.PageRecordBytes) + Mlx5Registers.Bytes;
    }

    public Mlx5Status Save(Mlx5Flags flags, Span<byte> reply, int room, ref int length)
    {
        if ((flags & Mlx5Flags.CleanUp) != 0)
        {
            Drop();
            return Mlx5Status.Ok;
        }

        var isTracked = (flags & Mlx5Flags.Track) != 0;
        if (Fails is { } fault && fault.Last != isTracked)
        {
            (Fails, left, changed) = (null, null, null);
            return fault.Status;
        }

        if (room < Mlx5ImageHead.Bytes + Mlx5ImageHead.PageRecordBytes)
            return Mlx5Status.LimitExceeded;
        if ((flags & Mlx5Flags.Continue) == 0)
        {
            if (Begin(flags, isTracked) is var refused and not Mlx5Status.Ok)
                return refused;
        }
        else if (left is null || kind != (flags & ~Mlx5Flags.Continue))
            return Mlx5Status.BadResourceState;

        length += Emit(left!, reply[Mlx5Reply.Bytes..][..room], isLast: !isTracked, out var isEnd);
        BinaryPrimitives.WriteInt32BigEndian(reply[Mlx5Saved.ActualImageSize..], length - Mlx5Reply.Bytes);
        BinaryPrimitives.WriteInt32BigEndian(reply[Mlx5Saved.NextRequired..], isEnd ? 0 : NextRequired);
        if (isEnd)
            (left, image, chunk) = (null, image + 1, 0);
        if (isEnd && !isTracked)
            Drop();
        return Mlx5Status.Ok;
    }

    private int NextRequired => (int)Math.Min(
        8L << 20, Mlx5ImageHead.Bytes + (left!.DirtyPages * Mlx5ImageHead.PageRecordBytes) + Mlx5Registers.Bytes);

    private Mlx5Status Begin(Mlx5Flags flags, bool isTracked)
    {
        var isIncremental = (flags & Mlx5Flags.Incremental) != 0;
        if ((isIncremental && changed is null) || (!isTracked && vhca.Suspended != Mlx5Vhca.BothHalves))
            return Mlx5Status.BadResourceState;
        // An image that was broken off keeps its number to itself.
        if (chunk > 0)
            (image, chunk) = (image + 1, 0);
        left = isIncremental ? changed! : NoPages();
        if (!isIncremental)
            left.Mark(0, (ulong)vhca.Memory.Length);
        changed = isTracked ? NoPages() : null;
        kind = flags;
        return Mlx5Status.Ok;
    }

    /// <summary>As many pages as there is room for, and the registers where they belong. Returns the chunk's bytes.</summary>
    private int Emit(DirtyBitmap pages, Span<byte> destination, bool isLast, out bool isEnd)
    {
        var at = Mlx5ImageHead.Bytes;
        var count = 0u;
        while (destination.Length - at >= Mlx5ImageHead.PageRecordBytes && pages.NextRun(0) is { } run)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(destination[at..], (uint)(run.Iova / Mlx5Bar.PageBytes));
            vhca.Memory.AsSpan((int)run.Iova, Mlx5Bar.PageBytes).CopyTo(destination[(at + sizeof(uint))..]);
            pages.Clear(run.Iova, Mlx5Bar.PageBytes);
            at += Mlx5ImageHead.PageRecordBytes;
            count++;
        }

        isEnd = pages.DirtyPages == 0 && (!isLast || destination.Length - at >= Mlx5Registers.Bytes);
        if (isEnd && isLast)
        {
            MemoryMarshal.Write(destination[at..], in vhca.Registers);
            at += Mlx5Registers.Bytes;
        }

        var flags = (isLast ? Mlx5ImageFlags.Last : 0) | (isEnd ? Mlx5ImageFlags.End : 0) |
                    ((kind & Mlx5Flags.Incremental) == 0 ? Mlx5ImageFlags.Full : 0);
        new Mlx5ImageHead(flags, MemoryPages, image, chunk++, count).Seal(destination[..at]);
        return at;
    }

    private DirtyBitmap NoPages() => new(0, (ulong)vhca.Memory.Length, Mlx5Bar.PageBytes);
}
