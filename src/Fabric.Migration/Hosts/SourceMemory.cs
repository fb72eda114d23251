using Fabric.Migration.DataPlane;
using Fabric.Vfio.Dirty;

namespace Fabric.Migration.Hosts;

/// <summary>The consumer's memory at a source, and the stream that it goes through, with the consumer's own state at the end.</summary>
internal sealed class SourceMemory(IConsumer consumer, MigrationWriter writer)
{
    private const int PageSize = 4096;

    public MigrationWriter Writer => writer;

    /// <summary>What the target does not have as it is now: everything at first, then what the logs of all devices say together.</summary>
    public DirtyBitmap Dirty { get; } = AllOf(consumer);

    public long DirtyBytes => Dirty.DirtyPages * PageSize;

    public async Task SendAsync(Action sent, CancellationToken cancellation)
    {
        foreach (var (iova, length) in Dirty.Runs.ToArray())
        {
            for (ulong done = 0; done < length; done += MigrationWriter.SliceBytes)
            {
                var part = (int)Math.Min(MigrationWriter.SliceBytes, length - done);
                var offset = iova + done - consumer.MemoryIova;
                var room = await writer.GetMemoryAsync(part, cancellation);
                consumer.Memory.Window(offset, part).CopyTo(room.Span);
                await writer.CommitMemoryAsync(offset, part, cancellation);
                sent();
            }
        }

        Dirty.Clear();
    }

    public async Task SendRestAsync(CancellationToken cancellation)
    {
        await SendAsync(static () => { }, cancellation);
        await writer.WriteConsumerStateAsync(consumer.SaveState(), cancellation);
    }

    private static DirtyBitmap AllOf(IConsumer consumer)
    {
        var all = new DirtyBitmap(consumer.MemoryIova, consumer.Memory.Length, PageSize);
        all.Mark(consumer.MemoryIova, consumer.Memory.Length);
        return all;
    }
}
