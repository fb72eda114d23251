using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Mlx5;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>
/// The target's side of a migration, in firmware: takes chunks in their order and no other, and each at once (VD-MLX-2). The VF's clock is
/// held.
/// </summary>
internal sealed class Mlx5LoadSession(Mlx5Vhca vhca)
{
    private Mlx5ImageHead? before;

    public void Drop() => before = null;

    public Mlx5Status Load(ReadOnlySpan<byte> chunk, bool isFirst, Span<byte> reply)
    {
        if (vhca.Suspended != Mlx5Vhca.BothHalves)
            return Mlx5Status.BadResourceState;
        if (isFirst)
            before = null;
        if (Mlx5ImageHead.Read(chunk) is not { } head || head.MemoryPages != vhca.Memory.Length / Mlx5Bar.PageBytes || !Fits(head, chunk.Length))
            return Mlx5Status.BadParameter;
        if (!Follows(head))
            return Mlx5Status.BadResourceState;
        var at = Mlx5ImageHead.Bytes;
        for (var page = 0; page < head.Pages; page++, at += Mlx5ImageHead.PageRecordBytes)
        {
            var number = BinaryPrimitives.ReadUInt32LittleEndian(chunk[at..]);
            if (number >= head.MemoryPages)
                return Mlx5Status.BadParameter;
            chunk.Slice(at + sizeof(uint), Mlx5Bar.PageBytes).CopyTo(vhca.Memory.AsSpan((int)number * Mlx5Bar.PageBytes));
        }

        if (CompletesState(head))
            vhca.Registers = MemoryMarshal.Read<Mlx5Registers>(chunk[at..]);
        before = head;
        BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5Loaded.IsWhole..], CompletesState(head) ? 1u : 0);
        return Mlx5Status.Ok;
    }

    private static bool CompletesState(Mlx5ImageHead head)
    {
        const Mlx5ImageFlags both = Mlx5ImageFlags.Last | Mlx5ImageFlags.End;
        return (head.Flags & both) == both;
    }

    private static bool Fits(Mlx5ImageHead head, int length) =>
        length == Mlx5ImageHead.Bytes + ((long)head.Pages * Mlx5ImageHead.PageRecordBytes) + (CompletesState(head) ? Mlx5Registers.Bytes : 0);

    /// <summary>
    /// The next chunk of an image, or the first of the next image, after the end of the one before; one that was broken off is followed by one
    /// of all memory (VD-MLX-4). A stream begins with one of all memory too, and nothing follows its end.
    /// </summary>
    private bool Follows(Mlx5ImageHead head)
    {
        if (before is not { } last)
            return head.Chunk == 0 && (head.Flags & Mlx5ImageFlags.Full) != 0;
        if (CompletesState(last))
            return false;
        var isEnded = (last.Flags & Mlx5ImageFlags.End) != 0;
        return head.Image == last.Image
            ? !isEnded && head.Chunk == last.Chunk + 1 && (head.Flags & ~Mlx5ImageFlags.End) == last.Flags
            : head.Image == last.Image + 1 && head.Chunk == 0 && (isEnded || (head.Flags & Mlx5ImageFlags.Full) != 0);
    }
}
