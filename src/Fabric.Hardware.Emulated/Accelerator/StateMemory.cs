using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Accelerator;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>
/// The accelerator's own memory, in chunks that come to be when they are touched, so that a reset and an idle function cost nothing. An
/// untouched chunk holds <see cref="AcceleratorState.InitialValue"/>. Read by the migration stream while the engine writes, as device
/// memory is: the state log says what to read again.
/// </summary>
internal sealed class StateMemory(long bytes)
{
    private const int ChunkShift = 20;
    private const int ChunkBytes = 1 << ChunkShift;

    private readonly byte[]?[] chunks = new byte[]?[(bytes + ChunkBytes - 1) >> ChunkShift];

    public long Bytes { get; } = bytes;

    public long Cells => Bytes / AcceleratorState.CellBytes;

    public ref ulong Cell(long index)
    {
        var at = index * AcceleratorState.CellBytes;
        return ref MemoryMarshal.Cast<byte, ulong>(Chunk(at).AsSpan())[(int)(at & (ChunkBytes - 1)) / AcceleratorState.CellBytes];
    }

    /// <summary>Reads; bytes past the end of the state read 0.</summary>
    public void Read(long offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            if (offset >= Bytes)
            {
                destination.Clear();
                return;
            }

            var piece = Piece(offset, destination.Length);
            Chunk(offset).AsSpan((int)(offset & (ChunkBytes - 1)), piece).CopyTo(destination);
            destination = destination[piece..];
            offset += piece;
        }
    }

    /// <summary>Writes; bytes past the end of the state are dropped.</summary>
    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty && offset < Bytes)
        {
            var piece = Piece(offset, source.Length);
            ref var chunk = ref chunks[offset >> ChunkShift];
            if (chunk is null && piece == ChunkBytes)
                chunk = GC.AllocateUninitializedArray<byte>(ChunkBytes);
            source[..piece].CopyTo(Chunk(offset).AsSpan((int)(offset & (ChunkBytes - 1)), piece));
            source = source[piece..];
            offset += piece;
        }
    }

    /// <summary>The sum of the digests of all counters, without bringing untouched chunks to be.</summary>
    public ulong Digest()
    {
        ulong sum = 0;
        for (long first = 0; first < Cells; first += ChunkBytes / AcceleratorState.CellBytes)
        {
            var count = (int)Math.Min(ChunkBytes / AcceleratorState.CellBytes, Cells - first);
            var cells = MemoryMarshal.Cast<byte, ulong>(chunks[first * AcceleratorState.CellBytes >> ChunkShift].AsSpan());
            for (var i = 0; i < count; i++)
                sum += AcceleratorState.Digest(first + i, cells.IsEmpty ? AcceleratorState.InitialValue(first + i) : cells[i]);
        }

        return sum;
    }

    /// <summary>Back to power-on.</summary>
    public void Clear() => Array.Clear(chunks);

    private int Piece(long offset, int wanted) =>
        (int)Math.Min(Math.Min(wanted, ChunkBytes - (offset & (ChunkBytes - 1))), Bytes - offset);

    private byte[] Chunk(long offset)
    {
        ref var chunk = ref chunks[offset >> ChunkShift];
        return Volatile.Read(ref chunk) ?? Fill(ref chunk, offset & ~(long)(ChunkBytes - 1));
    }

    private static byte[] Fill(ref byte[]? slot, long offset)
    {
        var fresh = GC.AllocateUninitializedArray<byte>(ChunkBytes);
        var cells = MemoryMarshal.Cast<byte, ulong>(fresh.AsSpan());
        var first = offset / AcceleratorState.CellBytes;
        for (var i = 0; i < cells.Length; i++)
            cells[i] = AcceleratorState.InitialValue(first + i);

        // The stream and the engine may both be first; one fill wins, so that no step is written to a chunk nobody keeps.
        return Interlocked.CompareExchange(ref slot, fresh, null) ?? fresh;
    }
}
