namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>Bits that the engine sets and a reader takes, one per page or block. Taking a word clears it, so nothing is seen twice or missed.</summary>
internal sealed class ChangeLog(long bits)
{
    private readonly long[] words = new long[(bits + 63) / 64];

    public void Mark(long bit) => Interlocked.Or(ref words[bit >> 6], 1L << (int)(bit & 63));

    public void MarkAll()
    {
        Array.Fill(words, -1L);
        var tail = (int)(bits & 63);
        if (tail != 0)
            words[^1] = (1L << tail) - 1;
    }

    /// <summary>The word, or 0 past the end.</summary>
    public ulong Take(long word) => word < words.Length ? (ulong)Interlocked.Exchange(ref words[word], 0) : 0;
}
