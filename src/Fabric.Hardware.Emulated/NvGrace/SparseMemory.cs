namespace Fabric.Hardware.Emulated.NvGrace;

/// <summary>Memory of gigabytes that costs what was written of it; untouched it reads 0. Safe from any thread.</summary>
internal sealed class SparseMemory(ulong size)
{
    private const int PageBytes = 1 << 16;

    private readonly Lock gate = new();
    private readonly Dictionary<ulong, byte[]> pages = [];

    public ulong Size => size;

    public void Read(ulong offset, Span<byte> destination)
    {
        lock (gate)
        {
            while (!destination.IsEmpty)
            {
                var (page, at) = (offset / PageBytes, (int)(offset % PageBytes));
                var part = destination[..Math.Min(destination.Length, PageBytes - at)];
                if (pages.TryGetValue(page, out var bytes))
                    bytes.AsSpan(at, part.Length).CopyTo(part);
                else
                    part.Clear();
                offset += (ulong)part.Length;
                destination = destination[part.Length..];
            }
        }
    }

    public void Write(ulong offset, ReadOnlySpan<byte> source)
    {
        lock (gate)
        {
            while (!source.IsEmpty)
            {
                var (page, at) = (offset / PageBytes, (int)(offset % PageBytes));
                var part = source[..Math.Min(source.Length, PageBytes - at)];
                if (!pages.TryGetValue(page, out var bytes))
                    pages[page] = bytes = new byte[PageBytes];
                part.CopyTo(bytes.AsSpan(at));
                offset += (ulong)part.Length;
                source = source[part.Length..];
            }
        }
    }

    public void Clear()
    {
        lock (gate)
            pages.Clear();
    }
}
