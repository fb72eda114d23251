using System.Collections.Immutable;
using Fabric.Migration.DataPlane;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>All of a state has come, was found whole, and the devices have accepted it.</summary>
/// <param name="Streams">Of memory and consumer state first, then of each device.</param>
internal sealed record TargetDone(ImmutableArray<StreamSum> Streams, TimeSpan Load);

/// <summary>
/// The target's half of a migration: puts consumer memory and device state where they belong as they come, each stream by itself. When all have
/// ended everything is loaded, and only then is any of them answered. It ends with the devices in STOP: loaded, not running.
/// </summary>
internal sealed class TargetRun(ImmutableArray<HeldDevice> devices, IConsumer consumer, InboundMigration inbound, TimeProvider time)
{
    /// <summary>Whether it could be loaded: null, or why not.</summary>
    private readonly TaskCompletionSource<string?> loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int coming = StreamsOf(devices.Length);
    private Task loading = Task.CompletedTask;
    private byte[]? consumerState;
    private TimeSpan load;

    /// <summary>One for memory and consumer state, and one for each device.</summary>
    public static int StreamsOf(int devices) => 1 + devices;

    public async Task<TargetDone> RunAsync(CancellationToken cancellation)
    {
        await using var expected = inbound;
        try
        {
            var sums = await Together.RunAsync(
                Enumerable.Range(0, coming).Select<int, Func<CancellationToken, Task<StreamSum>>>(stream => ending => ReceiveAsync(stream, ending)),
                cancellation);
            return await loaded.Task is { } refusal ? throw new MigrationBrokenException(refusal) : new TargetDone([.. sums], load);
        }
        finally
        {
            // Nothing of a transfer that has ended touches devices or consumer.
            await loading;
        }
    }

    private async Task<StreamSum> ReceiveAsync(int stream, CancellationToken cancellation)
    {
        await using var reader = await inbound.AcceptAsync(stream, cancellation);
        var end = await ReadToEndAsync(reader, stream == 0 ? null : devices[stream - 1], cancellation);
        if (Interlocked.Decrement(ref coming) == 0)
            loading = LoadAsync();
        await Together.AwaitAsync(loaded.Task, reader.KeepAliveAsync, time, cancellation);
        var refusal = await loaded.Task;
        await reader.ReplyFinishedAsync(refusal is null, refusal ?? "", cancellation);
        return new StreamSum(end.Bytes, $"{end.Hash:x32}");
    }

    /// <param name="device">Whose stream it is; null for that of memory and consumer state.</param>
    private async Task<MigrationFrame.End> ReadToEndAsync(MigrationReader reader, HeldDevice? device, CancellationToken cancellation)
    {
        while (true)
        {
            switch (await reader.ReadAsync(cancellation), device)
            {
                case (MigrationFrame.DeviceState state, { } its):
                    ThrowUnless(its.Inbound!.Write(state.Data.Span), $"{its.Address} refused device state");
                    break;
                case (MigrationFrame.Memory memory, null):
                    CheckRange(memory.Offset, memory.Data.Length);
                    memory.Data.Span.CopyTo(consumer.Memory.Window(memory.Offset, memory.Data.Length));
                    break;
                case (MigrationFrame.ConsumerState saved, null):
                    consumerState = saved.Data.ToArray();
                    break;
                case (MigrationFrame.RoundEnd end, _):
                    await reader.AcknowledgeRoundAsync(end.Round, cancellation);
                    break;
                case (MigrationFrame.End end, _):
                    return end;
                case (MigrationFrame.Aborted aborted, _):
                    throw new MigrationBrokenException($"The source gave up: {aborted.Reason}");
                case (var other, _):
                    throw new MigrationBrokenException($"The source sent {other.GetType().Name} in the stream of {device?.Address ?? "memory"}; run the same version on both hosts.");
            }
        }
    }

    /// <summary>Says null, or why not; never throws, since every stream waits for it.</summary>
    private async Task LoadAsync()
    {
        var started = time.GetTimestamp();
        try
        {
            ThrowUnless(consumer.LoadState(consumerState), "The target's consumer refused its state");
            await DeviceBarriers.LoadAsync(devices);
            load = time.GetElapsedTime(started);
            loaded.SetResult(null);
        }
        catch (Exception refused)
        {
            loaded.SetResult(refused.Message);
        }
    }

    private void CheckRange(ulong offset, int length)
    {
        if (offset > consumer.Memory.Length || (ulong)length > consumer.Memory.Length - offset)
            throw new MigrationBrokenException($"The source sent memory at {offset}, past the consumer's {consumer.Memory.Length} bytes; both must be of the same size.");
    }
}
