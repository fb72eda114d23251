using Fabric.Devices;
using Fabric.Migration.DataPlane;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>All of a state has come, was found whole, and the device has accepted it.</summary>
internal sealed record TargetDone(long Bytes, string Checksum, TimeSpan Load);

/// <summary>
/// The target's half of a migration: puts consumer memory and device state where they belong as they come. It ends with the device in STOP:
/// loaded, not running.
/// </summary>
internal sealed class TargetRun(DeviceClient device, IConsumer consumer, IMigrationStream stream, InboundStream inbound, TimeProvider time)
{
    public async Task<TargetDone> RunAsync(CancellationToken cancellation)
    {
        await using var expected = inbound;
        await using var reader = await inbound.AcceptAsync(cancellation);
        byte[]? consumerState = null;
        while (true)
        {
            switch (await reader.ReadAsync(cancellation))
            {
                case MigrationFrame.DeviceState state:
                    ThrowUnless(stream.Write(state.Data.Span), "The target refused device state");
                    break;
                case MigrationFrame.Memory memory:
                    CheckRange(memory.Offset, memory.Data.Length);
                    memory.Data.Span.CopyTo(consumer.Memory.Window(memory.Offset, memory.Data.Length));
                    break;
                case MigrationFrame.ConsumerState saved:
                    consumerState = saved.Data.ToArray();
                    break;
                case MigrationFrame.RoundEnd end:
                    await reader.AcknowledgeRoundAsync(end.Round, cancellation);
                    break;
                case MigrationFrame.End end:
                    return await LoadAsync(reader, end, consumerState, cancellation);
                case MigrationFrame.Aborted aborted:
                    throw new MigrationBrokenException($"The source gave up: {aborted.Reason}");
            }
        }
    }

    private async Task<TargetDone> LoadAsync(
        MigrationReader reader, MigrationFrame.End end, byte[]? consumerState, CancellationToken cancellation)
    {
        var started = time.GetTimestamp();
        try
        {
            ThrowUnless(consumer.LoadState(consumerState), "The target's consumer refused its state");
            ValueOf(await device.SetMigrationStateAsync(MigrationState.Stop), "The target's device refused its state");
        }
        catch (MigrationBrokenException refused)
        {
            await reader.ReplyFinishedAsync(false, refused.Message, cancellation);
            throw;
        }

        await reader.ReplyFinishedAsync(true, "", cancellation);
        return new TargetDone(end.Bytes, $"{end.Hash:x32}", time.GetElapsedTime(started));
    }

    private void CheckRange(ulong offset, int length)
    {
        if (offset > consumer.Memory.Length || (ulong)length > consumer.Memory.Length - offset)
            throw new MigrationBrokenException($"The source sent memory at {offset}, past the consumer's {consumer.Memory.Length} bytes; both must be of the same size.");
    }
}
