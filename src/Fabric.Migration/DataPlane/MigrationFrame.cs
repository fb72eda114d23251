namespace Fabric.Migration.DataPlane;

/// <summary>
/// What a <see cref="MigrationReader"/> reads. Closed: the nested records are all there are. A frame that carries data is the reader's own
/// object in the reader's own buffer, so neither may be kept past the next read.
/// </summary>
public abstract record MigrationFrame
{
    private MigrationFrame()
    {
    }

    /// <summary>The next piece of the device's opaque stream (MG-24): pieces are concatenated, their borders mean nothing.</summary>
    public sealed record DeviceState(ReadOnlyMemory<byte> Data) : MigrationFrame
    {
        public ReadOnlyMemory<byte> Data { get; internal set; } = Data;
    }

    /// <summary>A piece of the consumer's memory, <paramref name="Offset"/> bytes from its beginning.</summary>
    public sealed record Memory(ulong Offset, ReadOnlyMemory<byte> Data) : MigrationFrame
    {
        public ulong Offset { get; internal set; } = Offset;

        public ReadOnlyMemory<byte> Data { get; internal set; } = Data;
    }

    /// <summary>The consumer's own state, whole.</summary>
    public sealed record ConsumerState(ReadOnlyMemory<byte> Data) : MigrationFrame
    {
        public ReadOnlyMemory<byte> Data { get; internal set; } = Data;
    }

    /// <summary>Everything of a round came before this; acknowledge it once all of that is consumed.</summary>
    public sealed record RoundEnd(int Round) : MigrationFrame;

    /// <summary>The stream is complete: byte count and hash are the source's and were found equal to what arrived (L2).</summary>
    public sealed record End(long Bytes, UInt128 Hash) : MigrationFrame;

    /// <summary>The source gave up; nothing that came may be used.</summary>
    public sealed record Aborted(string Reason) : MigrationFrame;
}
