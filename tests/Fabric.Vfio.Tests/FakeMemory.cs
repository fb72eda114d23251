namespace Fabric.Vfio.Tests;

/// <summary>Holder memory. Of a length that only an error test asks for, no more than the first MiB is there.</summary>
internal sealed class FakeMemory(ulong length) : IDmaMemory
{
    private readonly byte[] bytes = new byte[Math.Min(length, 1 << 20)];

    public Action OnWindow { get; set; } = () => { };

    public ulong Length => length;

    public Span<byte> Window(ulong offset, int length)
    {
        if (offset > Length || (ulong)length > Length - offset)
            throw new InvalidOperationException($"The memory has no {length} bytes at {offset}.");
        OnWindow();
        return bytes.AsSpan((int)offset, length);
    }
}
