namespace Fabric.Benchmarks.Transfers;

/// <summary>What a state comes from or goes to: real memory, larger than any cache, used again from its beginning when a state is larger still.</summary>
internal sealed class StateMemory
{
    private readonly byte[] _bytes = new byte[256 << 20];

    public StateMemory(int seed) => new Random(seed).NextBytes(_bytes);

    public void Read(long at, Span<byte> into) => Window(at, into.Length).CopyTo(into);

    public void Write(long at, ReadOnlySpan<byte> from) => from.CopyTo(Window(at, from.Length));

    /// <summary>In place; a run never crosses the end if all are of one length that divides it.</summary>
    public Memory<byte> Lend(long at, int length) => _bytes.AsMemory((int)(at % _bytes.Length), length);

    private Span<byte> Window(long at, int length) => _bytes.AsSpan((int)(at % _bytes.Length), length);
}
