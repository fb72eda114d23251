using System.Buffers;
using System.Net;
using Fabric.Devices;
using Fabric.Migration.DataPlane;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>How far a pre-copy is.</summary>
/// <param name="RoundEnded">Between rounds: what remains is what a stop now would still have to carry. Else it is the rest of the round.</param>
internal sealed record PreCopyState(int Rounds, long Bytes, long Remaining, long BytesPerSecond, bool RoundEnded);

/// <summary>Consumer and device stand, and everything is at the other end.</summary>
/// <param name="Drain">From the order to switch to the end of the round that was under way; everything ran.</param>
internal sealed record SourceDone(long Bytes, string Checksum, int Rounds, TimeSpan Drain, TimeSpan Quiesce, TimeSpan Copy);

/// <summary>
/// The source's half of a migration: sends consumer memory and device state in rounds while the device runs, until it is told to switch;
/// then stops consumer and device and sends the rest. It leaves them stopped: who runs is the claim's to say.
/// </summary>
internal sealed class SourceRun(
    DeviceClient device, IConsumer consumer, string migrationId, StartPreCopy order, Action<PreCopyState> report, TimeProvider time)
{
    private const int PageSize = 4096;
    private const int ChunkBytes = 1 << 20;

    /// <summary>A stop is not asked of a device that has nothing to send: rounds come at least this far apart.</summary>
    private static readonly TimeSpan RoundPause = TimeSpan.FromMilliseconds(20);

    private static readonly TimeSpan ReportInterval = TimeSpan.FromMilliseconds(200);

    /// <summary>Rounds of less than this say nothing about the bandwidth.</summary>
    private const long RateSample = 1 << 20;

    private readonly TaskCompletionSource switching = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile MigrationWriter? writing;
    private long switchedAt;
    private long reportedAt;
    private long roundStartedAt;
    private long roundStart;
    private long roundEnd;
    private int rounds;
    private long rate;

    /// <summary>Stop and send the rest, after the round that is under way; that one is let through without a limit from now on.</summary>
    public void Switch()
    {
        // The order may come again while it is carried out; the drain is measured from the first.
        if (switching.Task.IsCompleted)
            return;
        switchedAt = time.GetTimestamp();
        switching.TrySetResult();
        if (writing is { } writer)
            writer.Limit = BandwidthLimit.None;
    }

    public async Task<SourceDone> RunAsync(CancellationToken cancellation)
    {
        var options = new DataPlaneOptions { Limit = new BandwidthLimit(order.BandwidthLimit) };
        await using var writer = await MigrationWriter.ConnectAsync(
            IPEndPoint.Parse(order.Endpoint), migrationId, DataPlaneToken.FromBytes(order.Token), options, cancellation);
        writing = writer;
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            return await RunAsync(writer, buffer.AsMemory(0, ChunkBytes), cancellation);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task<SourceDone> RunAsync(MigrationWriter writer, Memory<byte> buffer, CancellationToken cancellation)
    {
        var memory = consumer.Memory;
        ThrowUnless(await device.StartDmaLoggingAsync(consumer.MemoryIova, memory.Length), "The source could not log DMA");
        var stream = ValueOf(await device.SetMigrationStateAsync(MigrationState.PreCopy), "The source could not enter PRE_COPY").Stream!;

        // The log runs from here on, so a page that changes after it was sent is seen; everything counts as dirty once.
        var dirty = new DirtyBitmap(consumer.MemoryIova, memory.Length, PageSize);
        dirty.Mark(consumer.MemoryIova, memory.Length);

        while (true)
        {
            await SendRoundAsync(writer, stream, dirty, buffer, cancellation);
            dirty.MergeFrom(ValueOf(await device.ReportDmaLoggingAsync(), "The source could not read its DMA log"));
            var info = ValueOf(stream.GetPrecopyInfo(), "The source could not read PRECOPY_INFO");
            report(new PreCopyState(
                rounds, writer.BytesSent, (dirty.DirtyPages * PageSize) + (long)(info.InitialBytes + info.DirtyBytes), rate, RoundEnded: true));

            await Task.WhenAny(switching.Task, Task.Delay(RoundPause, time, cancellation));
            cancellation.ThrowIfCancellationRequested();
            if (switching.Task.IsCompleted)
                return await FinishAsync(writer, stream, dirty, buffer, cancellation);
        }
    }

    private async Task SendRoundAsync(
        MigrationWriter writer, IMigrationStream stream, DirtyBitmap dirty, Memory<byte> buffer, CancellationToken cancellation)
    {
        (roundStartedAt, roundStart) = (time.GetTimestamp(), writer.BytesSent);
        reportedAt = roundStartedAt;
        var info = ValueOf(stream.GetPrecopyInfo(), "The source could not read PRECOPY_INFO");
        roundEnd = roundStart + (dirty.DirtyPages * PageSize) + (long)(info.InitialBytes + info.DirtyBytes);
        await SendMemoryAsync(writer, dirty, buffer, cancellation);
        // What gets dirty from here on is the next round's: under a limit it may never run out.
        await SendDeviceAsync(writer, stream, buffer, (long)(info.InitialBytes + info.DirtyBytes), cancellation);
        await writer.EndRoundAsync(rounds++, cancellation);
        if (writer.BytesSent - roundStart >= RateSample || rate == 0)
            rate = RoundRate(writer);
    }

    /// <summary>Bytes per second of the round so far.</summary>
    private long RoundRate(MigrationWriter writer) =>
        (long)((writer.BytesSent - roundStart) / Math.Max(1e-6, time.GetElapsedTime(roundStartedAt).TotalSeconds));

    private async Task<SourceDone> FinishAsync(
        MigrationWriter writer, IMigrationStream stream, DirtyBitmap dirty, Memory<byte> buffer, CancellationToken cancellation)
    {
        var started = time.GetTimestamp();

        // As a VMM does it: first the CPUs, then peer-to-peer on the device, then the device itself (contract §6.7).
        consumer.Pause();
        ValueOf(await device.SetMigrationStateAsync(MigrationState.PreCopyP2P), "The source could not enter PRE_COPY_P2P");
        ValueOf(await device.SetMigrationStateAsync(MigrationState.StopCopy), "The source could not enter STOP_COPY");
        var quiesced = time.GetTimestamp();

        dirty.MergeFrom(ValueOf(await device.ReportDmaLoggingAsync(), "The source could not read its DMA log"));
        await SendMemoryAsync(writer, dirty, buffer, cancellation);
        await SendDeviceAsync(writer, stream, buffer, long.MaxValue, cancellation);
        await writer.WriteConsumerStateAsync(consumer.SaveState(), cancellation);
        var finished = await writer.FinishAsync(cancellation);
        return new SourceDone(
            finished.Bytes,
            $"{finished.Hash:x32}",
            rounds,
            time.GetElapsedTime(switchedAt, started),
            time.GetElapsedTime(started, quiesced),
            time.GetElapsedTime(quiesced));
    }

    private async Task SendMemoryAsync(MigrationWriter writer, DirtyBitmap dirty, Memory<byte> buffer, CancellationToken cancellation)
    {
        foreach (var (iova, length) in dirty.Runs.ToArray())
        {
            for (ulong done = 0; done < length; done += ChunkBytes)
            {
                var part = (int)Math.Min(ChunkBytes, length - done);
                var offset = iova + done - consumer.MemoryIova;
                consumer.Memory.Window(offset, part).CopyTo(buffer.Span);
                await writer.WriteMemoryAsync(offset, buffer[..part], cancellation);
                ReportWithinRound(writer);
            }
        }

        dirty.Clear();
    }

    /// <summary>Sends what the device has: in PRE_COPY until there is nothing for now (MG-22) or enough was sent, in STOP_COPY to the end.</summary>
    private async Task SendDeviceAsync(
        MigrationWriter writer, IMigrationStream stream, Memory<byte> buffer, long enough, CancellationToken cancellation)
    {
        for (long sent = 0; sent < enough;)
        {
            var read = stream.Read(buffer.Span);
            if (read.Error.Errno == Errno.ENOMSG)
                return;
            var length = ValueOf(read, "The source could not read its device state");
            if (length == 0)
                return;
            await writer.WriteDeviceStateAsync(buffer[..length], cancellation);
            ReportWithinRound(writer);
            sent += length;
        }
    }

    /// <summary>A round may take long, and somebody watches.</summary>
    private void ReportWithinRound(MigrationWriter writer)
    {
        if (switching.Task.IsCompleted || time.GetElapsedTime(reportedAt) < ReportInterval)
            return;
        reportedAt = time.GetTimestamp();
        report(new PreCopyState(rounds, writer.BytesSent, Math.Max(0, roundEnd - writer.BytesSent), RoundRate(writer), RoundEnded: false));
    }
}
